"""Every kind of archive becomes the one artifact that goes to the nodes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from deploys.packages import repack_process
from deploys.packages.archive.refusals import Limits
from deploys.packages.errors import FetchStopped
from tests.deploys.packages import hostile
from tests.deploys.packages.repacking import repack

FILES = {"bin/app": b"#!/bin/sh\n", "conf/a.ini": b"a=1\n" * 1000, "empty": b""}
PLAIN = hostile.made_tar(FILES, "w:")
KINDS = {
    "tar": PLAIN,
    "tar.gz": gzip.compress(PLAIN),
    "tar.gz in two streams": gzip.compress(PLAIN[:700]) + gzip.compress(PLAIN[700:]),
    "tar.xz": lzma.compress(PLAIN),
    "tar.xz -9": lzma.compress(PLAIN, preset=9),
    "tar.bz2": bz2.compress(PLAIN),
    "zip": hostile.made_zip(FILES),
    "pax tar": hostile.made_tar(FILES, "w:gz"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_recognises_an_archive_by_its_content(kind: str, tmp_path: Path) -> None:
    artifact = repack(KINDS[kind], tmp_path)
    assert artifact.content == {f"release/{name}": content for name, content in FILES.items()}
    assert artifact.manifest == ["./bin/app", "./conf/a.ini", "./empty"]
    assert next(iter(artifact.members)) == "release"
    assert list(artifact.members)[-1] == "files"


def test_it_gives_every_member_a_plain_mode_and_no_owner(tmp_path: Path) -> None:
    artifact = repack(
        hostile.tar(
            hostile.folder("d", mode=0o2700),
            hostile.file("d/run", mode=0o710),
            hostile.file("d/read", mode=0o666),
            hostile.symlink("link", "d/run"),
        ),
        tmp_path,
    )
    modes = {name: oct(info.mode) for name, info in artifact.members.items()}
    assert modes == {
        "release": "0o755",
        "release/d": "0o755",
        "release/d/run": "0o755",
        "release/d/read": "0o644",
        "release/link": "0o777",
        "files": "0o644",
    }
    assert {(info.uid, info.gid, info.uname, info.gname) for info in artifact.members.values()} == {(0, 0, "", "")}


def test_it_keeps_unix_modes_links_and_times_of_a_zip(tmp_path: Path) -> None:
    package = hostile.made_zip(
        {"app": b"1", "current": b"app", "d/": b""}, app=0o100700, current=0o120777, **{"d/": 0o040755}
    )
    artifact = repack(package, tmp_path)
    assert artifact.members["release/app"].mode == 0o755
    assert artifact.members["release/app"].mtime == 1705314600
    assert artifact.members["release/current"].linkname == "app"
    assert artifact.members["release/d"].isdir()


def test_it_makes_the_same_bytes_of_the_same_package(tmp_path: Path) -> None:
    artifact = repack(KINDS["tar.xz"], tmp_path)
    assert artifact.raw == repack(KINDS["tar.xz"], tmp_path).raw == repack(KINDS["tar"], tmp_path).raw
    assert artifact.raw[4:8] == bytes(4)


def test_it_keeps_times_between_1970_and_what_a_tar_can_say(tmp_path: Path) -> None:
    artifact = repack(
        hostile.tar(
            hostile.file("kept", mtime=1_700_000_000),
            hostile.file("zero", mtime=0),
            hostile.pax(mtime="-5.5") + hostile.file("before"),
            hostile.pax(mtime="99999999999999.9") + hostile.file("after"),
        ),
        tmp_path,
    )
    times = [artifact.members[f"release/{name}"].mtime for name in ("kept", "zero", "before", "after")]
    assert times == [1_700_000_000, 1, 1, 0o77777777777]


def test_it_puts_links_last_and_makes_copies_of_hard_links(tmp_path: Path) -> None:
    artifact = repack(
        gzip.compress(
            hostile.tar(
                hostile.symlink("a-link", "d/file"),
                hostile.file("d/file", b"shared" * 1000, mode=0o755),
                hostile.hard_link("copy", "./d/file"),
                hostile.hard_link("e/copy-of-copy", "copy"),
                hostile.file("z", b"z"),
            )
        ),
        tmp_path,
    )
    assert artifact.content["release/copy"] == artifact.content["release/e/copy-of-copy"] == b"shared" * 1000
    assert artifact.members["release/copy"].mode == 0o755
    assert list(artifact.members)[-2:] == ["release/a-link", "files"]
    assert artifact.manifest == sorted(["./d/file", "./z", "./copy", "./e/copy-of-copy", "./a-link"])


def test_it_reads_long_names_of_both_dialects(tmp_path: Path) -> None:
    long_name = "/".join(["d" * 200] * 4) + "/发布"
    artifact = repack(
        hostile.tar(
            hostile.pax(path=long_name) + hostile.file("short"),
            hostile.extended(b"l/" + b"x" * 250 + b"\0", b"L") + hostile.file("short"),
            hostile.extended(b"t" * 150 + b"\0", b"K") + hostile.symlink("link", "short"),
            hostile.extended(hostile.record(b"comment", b"0123abcd"), b"g") + hostile.file("behind-global"),
            hostile.file("v7", magic=b""),
        ),
        tmp_path,
    )
    assert artifact.manifest == sorted(
        [
            f"./{long_name}",
            "./l/" + "x" * 250,
            "./behind-global",
            "./v7",
            "./link",
        ]
    )
    assert artifact.members["release/link"].linkname == "t" * 150


@pytest.mark.parametrize(
    "target", ["file", "./file", "../d/file", "..", "missing", "../up/d/file", "up/d/../d", "deep/../.."]
)
def test_it_allows_links_that_stay_inside(target: str, tmp_path: Path) -> None:
    package = hostile.tar(
        hostile.file("d/file"),
        hostile.symlink("up", "."),
        hostile.symlink("d/up", ".."),
        hostile.folder("d/deep"),
        hostile.symlink("d/link", target),
    )
    assert "./d/link" in repack(package, tmp_path).manifest


def test_it_allows_a_folder_named_after_what_is_in_it_and_odd_spellings(tmp_path: Path) -> None:
    package = hostile.tar(
        hostile.folder("./"),
        hostile.file("./d//a"),
        hostile.folder("d/"),
        hostile.folder(".", mode=0o700),
        hostile.file("d/with\\backslash"),
        hostile.file("d/with space and 'quote' and $(x)"),
    )
    assert repack(package, tmp_path).manifest == [
        "./d/a",
        "./d/with space and 'quote' and $(x)",
        "./d/with\\backslash",
    ]


def test_a_node_extracts_the_artifact_with_its_own_tar(tmp_path: Path) -> None:
    package = hostile.tar(
        hostile.pax(path="x" * 200 + "/" + "y" * 200) + hostile.file("short", b"deep"), hostile.symlink("link", "x")
    )
    artifact = tmp_path / "artifact"
    artifact.write_bytes(repack(package, tmp_path).raw)
    done = subprocess.run(["tar", "-xzf", artifact, "-C", tmp_path], capture_output=True, check=True)
    assert done.stderr == b""
    assert (tmp_path / "release" / ("x" * 200) / ("y" * 200)).read_bytes() == b"deep"
    assert (tmp_path / "release/link").is_symlink()


def test_the_child_loads_no_django(tmp_path: Path) -> None:
    program = "import sys; sys.path.insert(0, sys.argv[1]); import deploys.packages.archive.child; print(*sys.modules)"
    root = str(Path(repack_process.__file__).parents[2])
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, root], capture_output=True, text=True, check=True
    )
    assert not {"django", "requests"} & {name.partition(".")[0] for name in loaded.stdout.split()}


def test_it_stops_when_asked_and_leaves_no_child(tmp_path: Path) -> None:
    big = zlib.compressobj(1, wbits=31)
    # Endless for our purpose: the child would be at it for many seconds.
    package = big.compress(hostile.header("big", size=3 * 1024**3))
    package += b"".join(big.compress(bytes(range(256)) * 4096) for _ in range(1500))
    polls = iter([False, True])
    with (tmp_path / "p").open("w+b") as file, (tmp_path / "a").open("w+b") as out:
        file.write(package)
        file.flush()
        limits = Limits(extracted_bytes=4 * 1024**3, ratio=100_000)
        with pytest.raises(FetchStopped):
            repack_process.repack(file, out, folder=tmp_path, limits=limits, should_stop=lambda: next(polls, True))
    children = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(4 * 1024**3) not in children
