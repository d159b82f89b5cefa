"""Parts: what of an artifact goes to a node that has another release of the service, kept in the store by the pair of them.

A part is a gzipped tar like the artifact, whose bytes it takes: of `release/` what `difference` says, and `part/` with lists.
`<sha256>.from.<base's sha256>.tar.gz` lies beside its artifact and goes with it, and with the base's; a `.json` says what it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from deploys.packages.archive import manifest
from deploys.packages.archive.manifest import BadManifest, Entry
from deploys.packages.archive.writer import END, ROOT, small_file
from deploys.packages.difference import Difference, difference, lists
from deploys.packages.store import Artifact, PackageStore, sync

# What making one may fail for besides: then all of the artifact goes.
FAILURES = (OSError, BadManifest, tarfile.TarError, zlib.error, EOFError)
# Once for all nodes, and sent to each: above this, the time until the first node has its part counts for more.
_WELL_PACKED_BYTES = 64 * 1024**2
_PIECE_BYTES = 1024 * 1024
# A manifest is in memory while it is compared: some 700 bytes for each.
MOST_ENTRIES = 100_000


@dataclass(frozen=True, kw_only=True)
class Part:
    """sha256, size_bytes: of the part itself."""

    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Record:
    """Of which artifacts' bytes it was made, and what it is."""

    artifact_sha256: str
    base_artifact_sha256: str
    sha256: str
    size_bytes: int


class TooManyEntries(Exception):
    """To compare it would take too much memory."""


class Parts:
    """Blocks; called in threads. Raises FAILURES."""

    def __init__(self, store: PackageStore) -> None:
        self._store = store

    def difference(self, artifact: Artifact, base: Artifact) -> Difference:
        """Raises TooManyEntries too."""
        return difference(self.manifest(base), self.manifest(artifact))

    def manifest(self, artifact: Artifact) -> Sequence[Entry]:
        """Made of the artifact where none is there: an earlier version has stored it. Raises TooManyEntries too."""
        path = self._store.manifest_path(artifact.sha256)
        with suppress(FileNotFoundError, BadManifest):
            return _not_too_many(manifest.read(path, artifact_sha256=artifact.artifact_sha256))
        entries = _not_too_many(manifest.of_artifact(artifact.path, root=ROOT))
        with self._store.draft() as (file, draft):
            manifest.write(file, entries)
            manifest.finish(file, artifact_sha256=artifact.artifact_sha256)
            file.flush()
            os.replace(draft, path)
        return entries

    def stored(self, sha256: str, base_sha256: str) -> Part | None:
        """Of that pair of packages, if it is whole by its size, which counts as a use of it."""
        record = self._record(sha256, base_sha256)
        return None if record is None else self._part(sha256, base_sha256, record)

    def part(self, artifact: Artifact, base: Artifact) -> Part:
        """Made once, whichever of this host's processes asks."""
        lock_path = self._store.lock_file(f"part-{artifact.sha256}")
        with FileLock(lock_path, mode=0o600):
            part = self._of_these_bytes(artifact, base) or self._make(artifact, base)
            # While it is held, as `fetch_lock` does.
            with suppress(OSError):
                lock_path.unlink()
        return part

    def discard_if_damaged(self, part: Part) -> bool:
        """Forget it if it has other bytes than were written."""
        with suppress(OSError), part.path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == part.sha256:
                return False
        part.path.with_suffix("").with_suffix(".json").unlink(missing_ok=True)
        part.path.unlink(missing_ok=True)
        return True

    def _of_these_bytes(self, artifact: Artifact, base: Artifact) -> Part | None:
        record = self._record(artifact.sha256, base.sha256)
        if record is None:
            return None
        made_of = (record.artifact_sha256, record.base_artifact_sha256)
        if made_of != (artifact.artifact_sha256, base.artifact_sha256):
            return None
        return self._part(artifact.sha256, base.sha256, record)

    def _record(self, sha256: str, base_sha256: str) -> _Record | None:
        path, record_path = self._store.part_paths(sha256, base_sha256)
        try:
            record = _Record(**json.loads(record_path.read_bytes()))
            if path.stat().st_size != record.size_bytes:
                return None
            os.utime(record_path)
        except (OSError, ValueError, TypeError):
            return None
        return record

    def _part(self, sha256: str, base_sha256: str, record: _Record) -> Part:
        path, _record_path = self._store.part_paths(sha256, base_sha256)
        return Part(path=path, sha256=record.sha256, size_bytes=record.size_bytes)

    def _make(self, artifact: Artifact, base: Artifact) -> Part:
        path, record_path = self._store.part_paths(artifact.sha256, base.sha256)
        with self._store.draft() as (file, draft):
            sha256, size_bytes = write_part(artifact.path, self.difference(artifact, base), file)
            file.flush()
            sync(draft)
            record = _Record(
                artifact_sha256=artifact.artifact_sha256,
                base_artifact_sha256=base.artifact_sha256,
                sha256=sha256,
                size_bytes=size_bytes,
            )
            record_path.unlink(missing_ok=True)
            os.replace(draft, path)
        self._store.write_record(record_path, asdict(record))
        return self._part(artifact.sha256, base.sha256, record)


def _not_too_many(entries: Iterable[Entry]) -> Sequence[Entry]:
    found = list(islice(entries, MOST_ENTRIES + 1))
    if len(found) > MOST_ENTRIES:
        raise TooManyEntries
    return found


def write_part(artifact: Path, difference: Difference, file: BinaryIO) -> tuple[str, int]:
    """The part's sha256 and its size. Raises FAILURES."""
    level = 6 if difference.sent_bytes <= _WELL_PACKED_BYTES else 1
    packer = zlib.compressobj(level=level, wbits=31)
    digest, size_bytes = hashlib.sha256(), 0
    for piece in _packed(packer, _contents(artifact, difference)):
        file.write(piece)
        digest.update(piece)
        size_bytes += len(piece)
    return digest.hexdigest(), size_bytes


def _contents(artifact: Path, difference: Difference) -> Iterator[bytes]:
    """Of the tar."""
    yield from _taken(_unpacked(artifact), [(entry.start, entry.start + entry.length) for entry in difference.sent])
    for name, content in lists(difference).items():
        yield small_file(f"part/{name}", content)
    yield END


def _packed(packer: zlib._Compress, pieces: Iterable[bytes]) -> Iterator[bytes]:
    yield from (packed for piece in pieces if (packed := packer.compress(piece)))
    yield packer.flush()


def _taken(pieces: Iterable[bytes], ranges: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Of a stream, these ranges of it, in their order; the stream is read to its end, so that its checksum is checked."""
    at, wanted = 0, iter(ranges)
    start, end = next(wanted, (0, 0))
    for piece in pieces:
        while start < at + len(piece) and at < end:
            yield piece[max(start - at, 0) : end - at]
            if end > at + len(piece):
                break
            start, end = next(wanted, (0, 0))
        at += len(piece)


def _unpacked(artifact: Path) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    with artifact.open("rb") as file:
        while packed := file.read(_PIECE_BYTES):
            # Each byte of it may become a thousand.
            while packed and not unpacker.eof:
                yield unpacker.decompress(packed, _PIECE_BYTES)
                packed = unpacker.unconsumed_tail
    if not unpacker.eof:
        raise EOFError(f"{artifact} ends before its end")
