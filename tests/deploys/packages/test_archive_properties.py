"""Whatever an archive says, nothing of it lands outside the release (hypothesis looks for the exception)."""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
import zipfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deploys.packages.archive.refusals import Limits, Refused
from deploys.packages.archive.repack import repack
from tests.deploys.packages import archive_kinds, hostile

LIMITS = Limits(extracted_bytes=1024**2, entries=200)

parts = st.sampled_from(["a", "b", "A", "..", ".", "", "c", ".release.json", "é", "e\u0301", "x\n", "\\", "-rf", " "])
names = st.lists(parts, min_size=1, max_size=5).map("/".join) | st.text(max_size=20)
targets = st.lists(parts, min_size=1, max_size=6).map("/".join)


@st.composite
def members(draw: st.DrawFn) -> bytes:
    name = draw(names.filter(lambda name: "\0" not in name).map(lambda name: name.encode("utf-8", "replace")[:100]))
    match draw(st.sampled_from(["file", "folder", "symlink", "hard link", "pax", "odd"])):
        case "file":
            return hostile.file(name, draw(st.binary(max_size=5)), mode=draw(st.sampled_from([0o644, 0o755, 0o4755])))
        case "folder":
            return hostile.header(name, kind=b"5")
        case "symlink":
            return hostile.header(name, kind=b"2", target=draw(targets).encode()[:100])
        case "hard link":
            return hostile.header(name, kind=b"1", target=draw(targets).encode()[:100])
        case "pax":
            return hostile.pax(path=draw(targets), linkpath=draw(targets)) + hostile.header(name, kind=draw(kinds))
        case _:
            return hostile.header(name, kind=draw(st.sampled_from([b"3", b"6", b"S", b"V", b"?"])))


kinds = st.sampled_from([b"0", b"2", b"5"])


def repacked(package: bytes) -> bytes | None:
    """The artifact, or None for a refusal; any other exception is a defect."""
    artifact = io.BytesIO()
    try:
        repack(io.BytesIO(package), artifact, LIMITS)
    except Refused:
        return None
    return artifact.getvalue()


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(members(), max_size=6))
@example([hostile.file("a/b"), hostile.symlink("a/l", "../a"), hostile.symlink("l2", "a/l/../../..")])
def test_nothing_lands_outside_the_release_and_no_link_leads_out(archive: list[bytes]) -> None:
    artifact = repacked(hostile.tar(*archive))
    if artifact is not None:
        _extract_and_look(artifact)


@settings(max_examples=800, deadline=None)
@given(st.binary(max_size=3000))
def test_no_bytes_crash_the_reader(package: bytes) -> None:
    for start in (b"", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"BZh9", b"PK\x03\x04"):
        repacked(start + package)


@settings(max_examples=800, deadline=None)
@given(data=st.data())
def test_no_damage_to_an_honest_archive_crashes_the_reader(data: st.DataObject) -> None:
    package = bytearray(data.draw(st.sampled_from(HONEST)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(package) - 1))
        package[at] = data.draw(st.integers(0, 255))
    artifact = repacked(bytes(package))
    if artifact is not None:
        _extract_and_look(artifact)


_FILES = {"bin/app": b"hello", "conf/a": b"1" * 600}
HONEST = [
    hostile.made_zip(_FILES),
    hostile.tar(hostile.file("a"), hostile.symlink("d/l", "../a"), hostile.hard_link("h", "a"), hostile.pax(path="q")),
    hostile.made_tar(_FILES, "w:"),
    hostile.made_tar(_FILES, "w:gz"),
    hostile.made_tar(_FILES, "w:xz"),
    archive_kinds.method_zip(zipfile.ZIP_BZIP2),
    archive_kinds.method_zip(zipfile.ZIP_LZMA),
    archive_kinds.gbk_zip("测试", extra=lambda name: archive_kinds.unicode_path(name, "测试")),
    hostile.tar(archive_kinds.sparse_pax_0_0(), hostile.padded(b"startend")),
    archive_kinds.SPARSE_1_0,
    archive_kinds.SPARSE_GNU,
]


def _extract_and_look(artifact: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "node"
        folder.mkdir()
        subprocess.run(["tar", "-xz", "-C", folder], input=artifact, check=True, capture_output=True)
        assert os.listdir(name) == ["node"]
        assert sorted(os.listdir(folder)) == ["files", "release"]
        root = folder / "release"
        for path in root.rglob("*"):
            assert path.is_symlink() or path.is_dir() or path.is_file()
            assert path.is_symlink() or path.stat().st_mode & 0o7777 in (0o644, 0o755)
            if path.is_symlink():
                assert not os.path.isabs(os.readlink(path))
                assert Path(os.path.realpath(path)).is_relative_to(root)
