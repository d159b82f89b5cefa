"""What `current` leads to: one task of the node, and so one answer, for sync and for recovery."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from inventory.nodes.state import Reading
from tests.deploys.node.node_lab import NodeLab, sha256_of

RELEASE = Reading(version="1.0.0", release="1.0.0", sha256=sha256_of("1.0.0"))
NO_RELEASE = Reading(problem="`current` leads to no release of ours")


def elsewhere(to: str) -> Reading:
    return Reading(problem=f"{NO_RELEASE.problem}, but to {to}", elsewhere=to)


Linked = Callable[[NodeLab], Path]


def linked(to: str) -> Linked:
    def link(node: NodeLab) -> Path:
        (node.root / "current").unlink()
        (node.root / "current").symlink_to(to.format(root=node.root))
        return node.root

    return link


def through_a_linked_root(node: NodeLab) -> Path:
    other = node.root.with_name("linked")
    other.symlink_to(node.root)
    return other


def through_an_absolute_link_and_a_linked_root(node: NodeLab) -> Path:
    other = through_a_linked_root(node)
    linked(f"{other}/releases/1.0.0")(node)
    return other


def with_releases_on_another_disk(node: NodeLab) -> Path:
    elsewhere = node.root.with_name("disk")
    (node.root / "releases").rename(elsewhere)
    (node.root / "releases").symlink_to(elsewhere)
    return node.root


def without_its_record(node: NodeLab) -> Path:
    (node.release("1.0.0") / ".release.json").unlink()
    return node.root


def without_a_link(node: NodeLab) -> Path:
    (node.root / "current").unlink()
    return node.root


def with_a_folder_in_its_place(node: NodeLab) -> Path:
    (node.root / "current").unlink()
    shutil.copytree(node.release("1.0.0"), node.root / "current", symlinks=True)
    return node.root


def with_a_file_in_its_place(node: NodeLab) -> Path:
    (node.root / "current").unlink()
    (node.root / "current").write_text("releases/1.0.0")
    return node.root


def without_a_root(node: NodeLab) -> Path:
    return node.root / "nothing"


def with_a_release_of_a_name_that_is_none(node: NodeLab) -> Path:
    (node.root / "releases" / "a b\n1.0.0").mkdir()
    return linked("releases/a b\n1.0.0")(node)


CASES: dict[str, tuple[Linked, Reading]] = {
    "releases/X": (linked("releases/1.0.0"), RELEASE),
    "./releases/X": (linked("./releases/1.0.0"), RELEASE),
    "releases/X/": (linked("releases/1.0.0/"), RELEASE),
    "releases/../releases/X": (linked("releases/../releases/1.0.0"), RELEASE),
    "an absolute link": (linked("{root}/releases/1.0.0"), RELEASE),
    "a linked deploy root": (through_a_linked_root, RELEASE),
    "an absolute link through a linked deploy root": (through_an_absolute_link_and_a_linked_root, RELEASE),
    "releases that are a link": (with_releases_on_another_disk, RELEASE),
    "a release without its record": (without_its_record, Reading(version="1.0.0", release="1.0.0")),
    "a link elsewhere": (linked("/etc"), elsewhere("/etc")),
    "a link into a release": (linked("releases/1.0.0/bin"), elsewhere("releases/1.0.0/bin")),
    "a link to releases itself": (linked("releases"), elsewhere("releases")),
    "a dangling link": (linked("releases/gone"), elsewhere("releases/gone")),
    "a link to a file": (linked("releases/1.0.0/VERSION"), elsewhere("releases/1.0.0/VERSION")),
    "a name that is none": (with_a_release_of_a_name_that_is_none, elsewhere("a path with control characters")),
    "a folder in its place": (with_a_folder_in_its_place, NO_RELEASE),
    "a file in its place": (with_a_file_in_its_place, NO_RELEASE),
    "no link": (without_a_link, Reading()),
    "no deploy root": (without_a_root, Reading()),
}


@pytest.mark.parametrize("case", CASES)
def test_sync_and_recovery_read_the_same(node: NodeLab, case: str) -> None:
    arrange, expected = CASES[case]
    node.deploy("1.0.0", fence=1)
    root = arrange(node)

    by_sync = node.readings("/", str(root), "/")[1]
    node.root = root
    by_recovery = node.state()

    assert by_sync == expected
    assert (by_recovery.current, by_recovery.version, by_recovery.sha256) == (
        expected.release,
        expected.version,
        expected.sha256,
    )
