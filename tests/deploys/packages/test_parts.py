"""What an artifact's manifest says, and the parts that are made by it, kept in the store by the pair of packages."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from deploys.packages import parts
from deploys.packages.archive import manifest
from deploys.packages.archive.manifest import Entry
from deploys.packages.archive.repack import repack
from deploys.packages.difference import MOST_TIMES, difference
from deploys.packages.parts import FAILURES, Parts, _taken, _unpacked
from deploys.packages.store import PART_IDLE_SECONDS, Artifact, PackageStore
from tests.deploys.packages.repacking import LIMITS
from tests.support.package_builder import WHEN, package, sha256

COMMON = {f"lib/{number}": os.urandom(3000) for number in range(40)} | {f"{'long/' * 30}name": b"x"}
OLD = {**COMMON, "VERSION": b"1", "goes": b"away"}
NEW = {**COMMON, "VERSION": b"2", "bin/run": b"#!/bin/sh\n"}


@pytest.fixture
def store(tmp_path: Path) -> PackageStore:
    return PackageStore(tmp_path / "packages")


@pytest.fixture
def pair(store: PackageStore) -> tuple[Artifact, Artifact]:
    """The new one and the old one."""
    return put(store, NEW), put(store, OLD)


def put(store: PackageStore, files: Mapping[str, bytes]) -> Artifact:
    """As `fetch` does, without a child process."""
    packed = package(files, links={"latest": "VERSION"})
    with store.room(), store.draft() as (file, draft), store.draft() as (manifest_file, manifest_draft):
        repacked = repack(io.BytesIO(packed), file, LIMITS, manifest=manifest_file)
        file.flush()
        manifest_file.flush()
        return store.publish(
            draft, sha256=sha256(packed), size_bytes=len(packed), repacked=repacked, manifest=manifest_draft
        )


def test_the_manifest_lies_beside_the_artifact_and_says_what_is_in_it(
    store: PackageStore, pair: tuple[Artifact, Artifact]
) -> None:
    artifact, _old = pair
    path = store.manifest_path(artifact.sha256)

    noted = list(manifest.read(path, artifact_sha256=artifact.artifact_sha256))

    files = {entry.path: (entry.size, entry.sha256, entry.mode) for entry in noted if entry.kind == "file"}
    assert files == {
        name: (len(content), sha256(content), 0o755 if name == "bin/run" else 0o644) for name, content in NEW.items()
    }
    assert [(entry.path, entry.target) for entry in noted if entry.kind == "link"] == [("latest", "VERSION")]
    # As it is read of an artifact that an earlier version has stored.
    assert noted == list(manifest.of_artifact(artifact.path, root="release"))


@pytest.mark.parametrize("damage", ["gone", "cut short", "another's", "no lines of JSON"])
def test_a_manifest_that_is_not_whole_is_made_again(
    damage: str, store: PackageStore, pair: tuple[Artifact, Artifact]
) -> None:
    artifact, old = pair
    path = store.manifest_path(artifact.sha256)
    whole = path.read_bytes()
    match damage:
        case "gone":
            path.unlink()
        case "cut short":
            path.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
        case "another's":
            path.write_bytes(store.manifest_path(old.sha256).read_bytes())
        case _:
            path.write_bytes(b"\0" * len(whole))

    entries = Parts(store).manifest(artifact)

    assert [entry.path for entry in entries if entry.path == "bin/run"] == ["bin/run"]
    assert path.read_bytes() == whole


def content_of(part: Path) -> Mapping[str, bytes | str | None]:
    with tarfile.open(part) as archive:
        return {
            info.name: info.linkname if info.issym() else getattr(archive.extractfile(info), "read", lambda: None)()
            for info in archive
        }


def test_a_part_has_what_differs_and_lists(store: PackageStore, pair: tuple[Artifact, Artifact]) -> None:
    part = Parts(store).part(*pair)

    content = dict(content_of(part.path))
    assert len(str(content.pop("part/plan")).split()) == 2
    assert content == {
        "release/VERSION": b"2",
        "release/bin/run": b"#!/bin/sh\n",
        "release/latest": "VERSION",
        "part/gone": b"./VERSION\0./goes\0./latest\0",
        "part/sent": b"./VERSION\0./bin/run\0./latest\0",
    }
    assert (part.size_bytes, part.sha256) == (part.path.stat().st_size, sha256(part.path.read_bytes()))
    assert part.size_bytes < 1000 < pair[0].artifact_bytes


def test_it_is_made_once_for_its_pair(store: PackageStore, pair: tuple[Artifact, Artifact]) -> None:
    new, old = pair
    part = Parts(store).part(new, old)
    made_at = part.path.stat().st_mtime_ns

    assert Parts(store).part(new, old) == part
    assert part.path.stat().st_mtime_ns == made_at
    assert Parts(store).stored(new.sha256, old.sha256) == part
    assert Parts(store).stored(old.sha256, new.sha256) is None
    assert Parts(store).part(old, new).sha256 != part.sha256
    assert not list((store.folder / "locks").iterdir())


def test_it_is_made_anew_when_the_artifact_was(store: PackageStore, pair: tuple[Artifact, Artifact]) -> None:
    new, old = pair
    part = Parts(store).part(new, old)
    part.path.write_bytes(b"x" * part.size_bytes)
    with pytest.raises(FAILURES):
        # Of these other bytes there is no manifest, and the tar is not theirs.
        Parts(store).part(replace(new, artifact_sha256="ab" * 32, path=part.path), old)
    assert Parts(store).discard_if_damaged(part)
    assert Parts(store).part(new, old) == part


def test_no_part_is_made_of_an_artifact_that_has_gone_bad(store: PackageStore, pair: tuple[Artifact, Artifact]) -> None:
    new, old = pair
    whole = new.path.read_bytes()
    new.path.write_bytes(whole[:-40] + bytes(20) + whole[-20:])

    with pytest.raises(FAILURES):
        Parts(store).part(new, old)

    assert Parts(store).stored(new.sha256, old.sha256) is None
    assert not list(store.temporary_folder.iterdir())


@pytest.mark.parametrize("goes", ["its artifact", "its base", "neither"])
def test_it_goes_with_its_artifact_and_with_its_base(
    goes: str, store: PackageStore, pair: tuple[Artifact, Artifact]
) -> None:
    new, old = pair
    part = Parts(store).part(new, old)
    keep = {"its artifact": {old.sha256}, "its base": {new.sha256}, "neither": {new.sha256, old.sha256}}[goes]

    store.prune(keep, grace_seconds=0)

    assert part.path.exists() == (goes == "neither")
    left = {path.name.partition(".")[0] for path in store.folder.glob("??/*")}
    assert left == keep


def test_it_goes_when_nobody_has_used_it_for_long(store: PackageStore, pair: tuple[Artifact, Artifact]) -> None:
    new, old = pair
    part = Parts(store).part(new, old)
    record = part.path.with_suffix("").with_suffix(".json")
    long_ago = record.stat().st_mtime - PART_IDLE_SECONDS - 60
    os.utime(record, (long_ago, long_ago))

    store.prune({new.sha256, old.sha256})

    assert not part.path.exists()
    assert store.stored(new.sha256) is not None


def test_what_has_too_many_files_is_not_compared(
    store: PackageStore, pair: tuple[Artifact, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MOST_ENTRIES", 20)
    with pytest.raises(parts.TooManyEntries):
        Parts(store).difference(*pair)


def test_an_artifact_of_zeros_is_read_in_bounded_pieces(tmp_path: Path) -> None:
    """A thousandth of its size as an artifact."""
    path = tmp_path / "zeros.tar.gz"
    path.write_bytes(gzip.compress(bytes(20_000_000), compresslevel=1))
    sizes = [len(piece) for piece in _unpacked(path)]
    assert (sum(sizes), max(sizes)) == (20_000_000, 1024 * 1024)


# The times of what stays.


def entries(times: Mapping[str, int]) -> list[Entry]:
    return [Entry(path, "file", 0, 0, 0o644, 1, time, "ab" * 32) for path, time in times.items()]


def test_times_are_told_with_the_fewest_names() -> None:
    names = [f"f{number}" for number in range(100)]
    there = entries(dict.fromkeys(names, WHEN))

    rebuilt = difference(there, entries({**dict.fromkeys(names, WHEN + 9), "f1": WHEN, "f2": WHEN + 3}))
    assert (rebuilt.time, rebuilt.times) == (WHEN + 9, {WHEN: ["f1"], WHEN + 3: ["f2"]})
    touched = difference(there, entries({**dict.fromkeys(names, WHEN), "f1": WHEN + 1}))
    assert (touched.time, touched.times) == (None, {WHEN + 1: ["f1"]})
    same = difference(there, there)
    assert (same.time, same.times, same.sent) == (None, {}, [])


def test_what_would_need_too_many_times_is_sent() -> None:
    names = [f"f{number}" for number in range(MOST_TIMES + 10)]
    there = entries(dict.fromkeys(names, WHEN))

    found = difference(there, entries({name: WHEN + number for number, name in enumerate(names, start=1)}))

    assert len(found.times) == MOST_TIMES
    assert len(found.sent) == 10
    assert len(found.kept) == MOST_TIMES
    assert sorted(found.gone) == sorted(entry.path for entry in found.sent)


def test_ranges_of_a_stream_are_taken_wherever_its_pieces_end() -> None:
    stream = bytes(range(100))
    ranges = [(0, 3), (3, 4), (10, 50), (50, 51), (99, 100)]
    wanted = b"".join(stream[start:end] for start, end in ranges)
    for length in (1, 2, 7, 64, 100):
        pieces = [stream[at : at + length] for at in range(0, 100, length)]
        assert b"".join(_taken(iter(pieces), ranges)) == wanted, length
    assert b"".join(_taken([stream], [])) == b""
