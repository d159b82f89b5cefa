"""A release made of another one on the node and of what differs: the same as one of all its bytes, or none."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploys.node.answers import Staged
from deploys.packages.archive import writer
from tests.deploys.node.node_lab import MTIME, NodeLab, files_of, sha256_of

COMMON = {
    **{f"lib/{number}": b"as it was %d" % number for number in range(60)},
    'a "q"\nb/x y': b"1",
    "bin/tool": b"#!/bin/sh\n",
}
OLD = {**COMMON, **files_of("1.0.0"), "goes": b"away", "folder/file": b"x", "was-file": b"y", "same": b"z"}
NEW = {**COMMON, **files_of("1.1.0"), "comes/new": b"n", "folder": b"a file", "was-file/in": b"y", "bin/same": b"z"}


def stage_old(node: NodeLab, files: Mapping[str, bytes] = OLD) -> None:
    assert node.stage("1.0.0", fence=1, artifact=node.artifact("1.0.0", files)).outcome == "installed"


def stage_new(node: NodeLab, *, fence: int = 2, mtime: int = MTIME, **changed: object) -> Staged:
    """Of what the store has of both."""
    part = node.part(node.artifact("1.1.0", NEW, mtime=mtime), node.artifact("1.0.0", OLD))
    return node.stage("1.1.0", fence=fence, artifact=part, base=("1.0.0", sha256_of("1.0.0")), **changed)


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that is in a release, but its record."""
    found: dict[str, tuple[object, ...]] = {}
    for path in folder.rglob("*"):
        name, status = str(path.relative_to(folder)), path.lstat()
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = ("folder", status.st_mode)
        elif name != ".release.json":
            found[name] = ("file", status.st_mode, status.st_mtime, path.read_bytes())
    return found


def listed(lab: NodeLab) -> list[bytes]:
    return sorted((lab.root / ".release/seals/1.1.0/files").read_bytes().split(b"\0"))


@pytest.mark.parametrize("mtime", [MTIME, MTIME + 86_400], ids=["times as they were", "other times"])
def test_it_is_what_the_full_package_makes(node: NodeLab, mtime: int) -> None:
    stage_old(node)
    (node.release("1.0.0") / "lib/made-by-the-service.log").write_text("not of the package")

    assert stage_new(node, mtime=mtime).outcome == "installed"

    made, names = tree(node.release("1.1.0")), listed(node)
    assert node.leftovers() == []
    assert node.switch("1.1.0", fence=3).outcome == "switched"
    assert node.stage("1.1.0", fence=4).outcome == "present"
    node.root = node.root.with_name("another-root")
    node.stage("1.1.0", fence=1, artifact=node.artifact("1.1.0", NEW, mtime=mtime))
    assert made == tree(node.release("1.1.0"))
    assert names == listed(node)


def test_a_service_that_writes_into_its_files_changes_nothing_that_was_made_of_them(lab: NodeLab) -> None:
    stage_old(lab)
    stage_new(lab)
    with (lab.release("1.0.0") / "lib/1").open("ab") as file:
        file.write(b"written by what runs still")
    assert (lab.release("1.1.0") / "lib/1").read_bytes() == COMMON["lib/1"]
    assert lab.stage("1.1.0", fence=3).outcome == "present"


def test_one_that_is_made_of_one_that_was_made(lab: NodeLab) -> None:
    stage_old(lab)
    stage_new(lab)
    part = lab.part(lab.artifact("1.2.0", OLD), lab.artifact("1.1.0", NEW))

    staged = lab.stage("1.2.0", fence=3, artifact=part, base=("1.1.0", sha256_of("1.1.0")))

    assert staged.outcome == "installed"
    assert tree(lab.release("1.2.0")) == tree(lab.release("1.0.0"))


# What others do to the base.


def tamper(lab: NodeLab) -> None:
    (lab.release("1.0.0") / "lib/7").write_bytes(b"other bytes!")


def remove(lab: NodeLab) -> None:
    lab.release("1.0.0").rename(lab.root / "releases/elsewhere")


def swap_for_a_link(lab: NodeLab) -> None:
    """To the same bytes: what is made must have a file."""
    path = lab.release("1.0.0") / "lib/7"
    path.rename(lab.root / "outside")
    path.symlink_to(lab.root / "outside")


def swap_for_a_fifo(lab: NodeLab) -> None:
    """Whoever reads it waits for ever."""
    path = lab.release("1.0.0") / "lib/7"
    path.unlink()
    os.mkfifo(path)


def make_executable(lab: NodeLab) -> None:
    (lab.release("1.0.0") / "lib/7").chmod(0o755)


def forget_stamp(lab: NodeLab) -> None:
    (lab.root / ".release/seals/1.0.0/seal").unlink()


def tear_list(lab: NodeLab) -> None:
    path = lab.root / ".release/seals/1.0.0/files"
    path.write_bytes(path.read_bytes()[:40])


CHANGES: dict[Callable[[NodeLab], None], str] = {
    tamper: "changed .*/lib/7",
    remove: "gone .*/releases/1.0.0",
    swap_for_a_link: "changed .*/lib/7",
    swap_for_a_fifo: "changed .*/lib/7",
    make_executable: "changed .*/lib/7",
    forget_stamp: "gone .*/seal",
    tear_list: "changed .*",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_base_that_was_changed_is_not_built_upon(lab: NodeLab, change: Callable[[NodeLab], None]) -> None:
    stage_old(lab)
    change(lab)

    staged = stage_new(lab)

    assert (staged.outcome, staged.is_sent) == ("no_base", False)
    assert re.fullmatch(CHANGES[change], staged.no_base), staged.no_base
    check_that_the_full_one_goes(lab)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_one_that_is_changed_between_look_and_copy_is_found_out(
    lab: NodeLab, change: Callable[[NodeLab], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_old(lab)

    with held_before("comm", tmp_path / "hold", monkeypatch, lambda: change(lab)):
        staged = stage_new(lab)

    assert (staged.outcome, staged.is_sent) == ("no_base", True)
    assert re.fullmatch(CHANGES[change], staged.no_base), staged.no_base
    check_that_the_full_one_goes(lab)


@contextmanager
def held_before(
    program: str, folder: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[], None]
) -> Iterator[None]:
    """The node's program of this name does not start before `call` is over."""
    folder.mkdir()
    reached, go = folder / "reached", folder / "go"
    os.mkfifo(reached)
    os.mkfifo(go)
    first, then = shlex.quote(str(reached)), shlex.quote(str(go))
    # Once.
    holding = f"[ ! -p {first} ] || {{ : >{first}; : <{then}; rm {first}; }}"
    (folder / program).write_text(f'#!/bin/sh\n{holding}\nexec {shutil.which(program)} "$@"\n')
    (folder / program).chmod(0o755)

    def let_go() -> None:
        reached.read_bytes()
        call()
        go.write_bytes(b"")

    thread = threading.Thread(target=let_go)
    thread.start()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        yield
    thread.join()


def check_that_the_full_one_goes(lab: NodeLab) -> None:
    assert "1.1.0" not in lab.releases()
    assert lab.leftovers() == []
    assert lab.stage("1.1.0", fence=3, artifact=lab.artifact("1.1.0", NEW)).outcome == "installed"


def test_other_content_than_the_store_knows_of_is_found_out(lab: NodeLab) -> None:
    """Under the same digest, and as it was staged: read by other rules, or gone bad on the disk."""
    stage_old(lab, {**OLD, "lib/7": b"never in the store"})
    staged = stage_new(lab)
    assert (staged.outcome, staged.no_base[:7]) == ("no_base", "differs")
    check_that_the_full_one_goes(lab)


def test_a_base_that_a_command_has_changed_is_left_alone(lab: NodeLab) -> None:
    stage_old(lab)
    lab.within(
        lambda transport: lab.session(transport, 1).before_switch(
            release="1.0.0", command="echo more >>lib/3", timeout_seconds=10
        )
    )

    staged = stage_new(lab)

    assert (staged.outcome, staged.is_sent) == ("no_base", False)
    assert re.fullmatch("restamped .*/releases/1.0.0", staged.no_base), staged.no_base
    assert lab.switch("1.0.0", fence=3).outcome == "switched"


def test_it_is_made_of_one_that_an_earlier_version_has_staged(lab: NodeLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose list is in another order."""
    with monkeypatch.context() as patch:
        patch.setattr(writer, "listed", lambda paths: b"".join(b"./" + path + b"\0" for path in sorted(paths)[::-1]))
        stage_old(lab)
    assert stage_new(lab).outcome == "installed"
    assert lab.switch("1.1.0", fence=3).outcome == "switched"


def test_a_node_without_xargs_gets_all_of_it(lab: NodeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage_old(lab)
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in (entry for place in ("/bin", "/usr/bin") for entry in os.scandir(place)):
        if program.name != "xargs" and not (programs / program.name).is_symlink():
            (programs / program.name).symlink_to(program.path)
    monkeypatch.setenv("PATH", str(programs))

    staged = stage_new(lab)

    assert (staged.outcome, staged.no_base, staged.is_sent) == ("no_base", "lacks xargs", False)
    check_that_the_full_one_goes(lab)
