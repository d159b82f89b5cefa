"""What would cost memory, time or disk is refused before it does (FAULTS.md, row 25)."""

from __future__ import annotations

import bz2
import json
import lzma
import subprocess
import tarfile
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from deploys.packages import repack_process
from deploys.packages.archive.refusals import Limits
from deploys.packages.archive.writer import _header
from deploys.packages.errors import PackageError
from tests.deploys.packages.hostile import (
    END,
    file,
    gzipped_pieces,
    hard_link,
    header,
    made_zip,
    pax,
    symlink,
    tar,
    zip_entry,
    zip_of,
)
from tests.deploys.packages.repacking import LIMITS, peak_memory_bytes, repack

MIB = 1024**2
# As in production, with the contract's 2 GiB: nothing here is refused for a small limit of the test's own.
WIDE = Limits(extracted_bytes=20 * 1024**3, cpu_seconds=60, wall_seconds=60)
ZEROS = [bytes(MIB)] * 400
MEMORY_BYTES = 64 * MIB


def _xz(pieces: list[bytes]) -> bytes:
    xz = lzma.LZMACompressor(preset=0)
    return b"".join([*(xz.compress(piece) for piece in pieces), xz.flush()])


def _bz2(pieces: list[bytes]) -> bytes:
    compressor = bz2.BZ2Compressor(1)
    return b"".join([*(compressor.compress(piece) for piece in pieces), compressor.flush()])


BOMBS = {
    "gzip": lambda: gzipped_pieces([header("big", size=10 * 1024**3), *ZEROS]),
    "gzip with no end": lambda: gzipped_pieces([header("big", size=400 * MIB), *ZEROS])[:-100],
    "gzip of zero blocks": lambda: gzipped_pieces(ZEROS),
    "xz": lambda: _xz([header("big", size=10 * 1024**3), *ZEROS]),
    "bz2": lambda: _bz2([header("big", size=10 * 1024**3), *ZEROS]),
    "zip": lambda: made_zip({"big": bytes(400 * MIB)}),
    "pax header": lambda: gzipped_pieces([header("x", kind=b"x", size=256 * MIB), *[b"a" * MIB] * 256]),
    "global header": lambda: gzipped_pieces([header("g", kind=b"g", size=256 * MIB), *[b"a" * MIB] * 256]),
    "long name": lambda: gzipped_pieces([header("L", kind=b"L", size=256 * MIB), *[b"a" * MIB] * 256]),
    "size beyond measure": lambda: tar(header("big", size=2**80)),
    "size beyond measure by pax": lambda: tar(pax(size="9" * 20) + header("big")),
    "copies of hard links": lambda: tar(
        file("a", bytes(30 * MIB)), *[hard_link(f"copy-{number}", "a") for number in range(1000)]
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_it_refuses_a_bomb_in_seconds_and_in_bounded_memory(name: str, tmp_path: Path) -> None:
    package = BOMBS[name]()
    began = time.monotonic()
    answer, peak_bytes = peak_memory_bytes(package, tmp_path, WIDE)
    assert json.loads(answer)["code"] == "package_too_large"
    assert time.monotonic() - began < 40
    assert 0 < peak_bytes < MEMORY_BYTES


@cache
def _many_entries() -> bytes:
    return gzipped_pieces([*(file(f"d{number % 100}/{number}") for number in range(201_000)), END])


def test_it_refuses_more_than_200_000_entries(tmp_path: Path) -> None:
    answer, peak_bytes = peak_memory_bytes(_many_entries(), tmp_path, WIDE)
    assert json.loads(answer)["code"] == "package_too_large"
    assert '"entries": 200000' in answer
    assert "Pack many small files into one" in answer
    assert 0 < peak_bytes < 256 * MIB


def test_it_refuses_names_that_add_up(tmp_path: Path) -> None:
    long = "/".join(["x" * 100] * 9)
    package = gzipped_pieces([*(pax(path=f"{long}/{number}") + file("f") for number in range(40_000)), END])
    answer, peak_bytes = peak_memory_bytes(package, tmp_path, WIDE)
    assert json.loads(answer)["code"] == "package_too_large"
    assert 0 < peak_bytes < 256 * MIB


def test_it_refuses_folders_that_nobody_named_but_that_add_up(tmp_path: Path) -> None:
    deep = (f"{number}/" + "a/" * 480 + "f" for number in range(500))
    answer, _ = peak_memory_bytes(tar(*(pax(path=path) + file("f") for path in deep)), tmp_path, WIDE)
    assert json.loads(answer)["code"] == "package_too_large"


def test_it_refuses_a_zip_that_claims_more_entries_than_allowed(tmp_path: Path) -> None:
    local, entry = zip_entry(b"a", b"1")
    with pytest.raises(PackageError, match="more than 200 entries"):
        repack(zip_of(local, [entry], count=300), tmp_path, replace(LIMITS, entries=200))


def test_it_gives_up_on_links_that_take_for_ever_to_follow(tmp_path: Path) -> None:
    """Each link's target goes through the next one twice: 2^60 steps."""
    links = [symlink(f"l{number}", f"l{number + 1}/../l{number + 1}") for number in range(60)]
    began = time.monotonic()
    with pytest.raises(PackageError) as refusal:
        repack(tar(file("f"), *links, symlink("l60", ".")), tmp_path)
    assert refusal.value.code == "package_unsafe"
    assert time.monotonic() - began < 15


def test_it_stops_a_child_that_takes_too_much_memory(tmp_path: Path) -> None:
    """The limit below every other: here one that is too small for an honest package."""
    package = tar(*(file(f"{number:0>90}") for number in range(100_000)))
    with pytest.raises(PackageError) as refusal:
        repack(package, tmp_path, replace(LIMITS, memory_bytes=40 * MIB, extracted_bytes=1024 * MIB))
    assert refusal.value.code == "package_too_large"
    assert "memory" in refusal.value.message


def test_it_stops_a_child_that_takes_too_much_processor_time(tmp_path: Path) -> None:
    with pytest.raises(PackageError) as refusal:
        repack(_many_entries(), tmp_path, replace(WIDE, cpu_seconds=1))
    assert refusal.value.code == "package_too_large"
    assert "time" in refusal.value.message


def test_it_stops_a_child_at_the_deadline_and_blames_the_host(tmp_path: Path) -> None:
    with pytest.raises(PackageError) as refusal:
        repack(_many_entries(), tmp_path, replace(WIDE, wall_seconds=1))
    assert refusal.value.code == "internal_error"
    assert "not done after 1 seconds" in refusal.value.message


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    """Told of another parent than it has, it takes its own for dead."""
    with (tmp_path / "package").open("w+b") as package, (tmp_path / "artifact").open("wb") as artifact:
        package.write(_many_entries())
        package.flush()
        command = repack_process.command(artifact.fileno(), WIDE)
        command[-1] = "1"
        began = time.monotonic()
        child = subprocess.run(
            command,
            stdin=package.fileno(),
            pass_fds=(artifact.fileno(),),
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
    assert child.returncode == 1
    assert child.stdout == b""
    assert time.monotonic() - began < 15


def test_it_fails_clearly_when_the_disk_is_full(tmp_path: Path) -> None:
    with (tmp_path / "package").open("w+b") as package, Path("/dev/full").open("wb") as full:
        package.write(tar(file("f", bytes(range(256)) * 4096)))
        package.flush()
        with pytest.raises(OSError, match="No space left"):
            repack_process.repack(package, full, folder=tmp_path, limits=LIMITS)


@pytest.mark.parametrize(
    ("name", "target", "size"),
    [("release/a", "", 9), ("release/" + "发" * 200, "", 9 * 1024**3), ("n" * 100, "t" * 100, 0), ("n", "t" * 300, 0)],
)
def test_it_writes_the_headers_that_tarfile_would(name: str, target: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size, info.mtime = tarfile.SYMTYPE, target, size, 1_700_000_000
    expected = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")
    assert _header(name, b"2", mode=0o644, mtime=1_700_000_000, size=size, target=target) == expected
