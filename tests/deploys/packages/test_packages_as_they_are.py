"""Every kind of archive that docs/packages.md has a line for: taken as `tar` would, or refused for what it is."""

from __future__ import annotations

import io
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deploys.packages import repack_process
from deploys.packages.archive.refusals import Limits, Refused
from deploys.packages.archive.repack import repack as repack_in_process
from tests.deploys.packages.archive_kinds import CASES, TAKEN, Case
from tests.deploys.packages.hostile import file, header, tar
from tests.deploys.packages.repacking import LIMITS, Artifact, read_artifact


def _repacked(case: Case, folder: Path) -> tuple[Artifact, list[str]]:
    out, notes = io.BytesIO(), list[str]()
    package = io.BytesIO(case.package(folder))
    repack_in_process(package, out, LIMITS, zip_names=case.zip_names, on_note=lambda note: notes.append(str(note)))
    return read_artifact(out.getvalue()), notes


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].outcome == TAKEN])
def test_it_is_taken(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    artifact, notes = _repacked(case, tmp_path / "made")
    root = _extracted(artifact, tmp_path / "node")
    found: dict[str, bytes | str] = {}
    for path in artifact.manifest:
        file = root / path
        found[path.removeprefix("./")] = str(file.readlink()) if file.is_symlink() else file.read_bytes()
    assert found == case.files
    assert len(artifact.manifest) == len(found)
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or path.is_file()} == set(
        found
    )
    assert case.says in " ".join(notes)
    assert bool(notes) == bool(case.says)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].outcome != TAKEN])
def test_it_is_refused_for_what_it_is(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    with pytest.raises(Refused) as refusal:
        _repacked(case, tmp_path / "made")
    assert refusal.value.code == case.outcome
    assert case.says in refusal.value.message
    assert refusal.value.message.isprintable()


def test_the_document_has_a_line_for_each_and_for_no_other() -> None:
    text = (Path(repack_process.__file__).parents[2] / "docs/packages.md").read_text()
    rows = [line.replace("\\|", "¦").split(" | ") for line in text.splitlines() if line.count(" | ") == 3]
    told = {row[0].removeprefix("| ").replace("¦", "|"): row[2].strip("*`") for row in rows if row[0] != "| kind"}
    assert told == {name: case.outcome for name, case in CASES.items()}


def _extracted(artifact: Artifact, folder: Path) -> Path:
    """As a node has it: its own tar, without a word of warning; and `du` finds every file of the manifest."""
    folder.mkdir()
    done = subprocess.run(
        ["tar", "-xz", "--warning=no-timestamp", "-C", folder], input=artifact.raw, capture_output=True, check=True
    )
    assert done.stderr == b""
    root = folder / "release"
    counted = subprocess.run(["du", "-b", "-l", "--files0-from=../files"], cwd=root, capture_output=True, check=True)
    assert counted.stderr == b""
    return root


def test_the_child_tells_what_was_taken_otherwise(tmp_path: Path) -> None:
    package = tar(file("su", mode=0o4755), file("a"), file("a"), *(file(f"d{at}/s", mode=0o1644) for at in range(9)))
    notes: list[str] = []
    with (tmp_path / "package").open("w+b") as source, (tmp_path / "artifact").open("wb") as artifact:
        source.write(package)
        source.flush()
        repack_process.repack(
            source, artifact, folder=tmp_path, limits=LIMITS, on_note=lambda note: notes.append(str(note))
        )
    assert [note.partition(":")[0] for note in notes] == [
        "The setuid, setgid and sticky bits of 10 members ('su', 'd0/s', 'd1/s', …) are gone",
        "Repeated in the archive, so that the last of each counts",
    ]


def test_files_that_were_replaced_take_no_room() -> None:
    """Nor do they count: a file that comes a hundred times may be a hundredth of what a package may extract to."""
    content = bytes(range(256)) * 4096
    package = io.BytesIO(tar(*[file("a", content)] * 50, file("b")))
    out = io.BytesIO()
    repack_in_process(package, out, LIMITS)
    once = io.BytesIO()
    repack_in_process(io.BytesIO(tar(file("a", content), file("b"))), once, LIMITS)
    assert out.getvalue() == once.getvalue()


@pytest.mark.parametrize(
    ("size", "limits", "says"),
    [
        (10 * 1024**3, LIMITS, "extracts to more than 67108864 bytes"),
        (10 * 1024**2, replace(LIMITS, free_bytes=1024**2), "decompression bomb"),
    ],
)
def test_a_sparse_file_is_no_way_around_the_limits(size: int, limits: Limits, says: str) -> None:
    """One block that claims a file of gigabytes, or is a bomb by its ratio."""
    block = bytearray(header("big", kind=b"S", magic=b"ustar  \0"))
    block[483:495] = b"%011o\0" % size
    block[148:156] = b"%06o\0 " % sum(bytes(block[:148]) + b" " * 8 + bytes(block[156:]))
    with pytest.raises(Refused, match=says) as refusal:
        repack_in_process(io.BytesIO(tar(bytes(block))), io.BytesIO(), limits)
    assert refusal.value.code == "package_too_large"
