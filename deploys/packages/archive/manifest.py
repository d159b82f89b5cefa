"""What is in an artifact and where: one line of JSON for each member, and one at the end that says of which artifact.

A member's line is an array in the order of `Entry`; the last line is `{"artifact_sha256": …}`, so that a manifest that was
cut short, or is another artifact's, is known as such.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

FILE, FOLDER, LINK = "file", "folder", "link"
_PIECE_BYTES = 256 * 1024
_BLOCK_BYTES = 512


class Entry(NamedTuple):
    """path: within the release. start, length: of the member's headers and blocks in the artifact's tar. mode: 0o755 or 0o644.

    size, sha256, blake2: of a file's content, the last as `b2sum -l 256` has it, which takes a node two thirds of the time of
    sha256sum. mtime: as it stands in the tar. target: of a link.
    """

    path: str
    kind: str
    start: int
    length: int
    mode: int = 0o755
    size: int = 0
    mtime: int = 0
    sha256: str = ""
    blake2: str = ""
    target: str = ""


class Digests:
    """Of one file's content, as it is read."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._blake2 = hashlib.blake2b(digest_size=32)

    def update(self, piece: bytes) -> None:
        self._sha256.update(piece)
        self._blake2.update(piece)

    def found(self) -> tuple[str, str]:
        """The `sha256` and `blake2` of an `Entry`."""
        return self._sha256.hexdigest(), self._blake2.hexdigest()


class BadManifest(Exception):
    """It is not whole, or that of another artifact."""


def write(file: BinaryIO, entries: Iterable[Entry]) -> None:
    for entry in entries:
        file.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


def finish(file: BinaryIO, *, artifact_sha256: str) -> None:
    file.write(json.dumps({"artifact_sha256": artifact_sha256}).encode() + b"\n")


def read(path: Path, *, artifact_sha256: str) -> Iterator[Entry]:
    """The members in the artifact's order. Raises BadManifest, at its end at the latest, and OSError."""
    last: object = None
    with path.open("rb") as file:
        try:
            for line in file:
                last = json.loads(line)
                if isinstance(last, list):
                    yield Entry(*last)
        except (ValueError, TypeError) as error:
            raise BadManifest(str(error)) from error
    if last != {"artifact_sha256": artifact_sha256}:
        raise BadManifest(f"it does not end as that of {artifact_sha256}")


def of_artifact(path: Path, *, root: str) -> Iterator[Entry]:
    """The members of an artifact, as `ArtifactWriter` has written it, that has no manifest. Raises OSError, tarfile.TarError.

    root: the folder in it that becomes the release.
    """
    with tarfile.open(path, "r|gz") as archive:
        for info in archive:
            if info.name.startswith(f"{root}/"):
                yield _entry(info, archive, info.name[len(root) + 1 :].rstrip("/"))


def _entry(info: tarfile.TarInfo, archive: tarfile.TarFile, path: str) -> Entry:
    end = info.offset_data + info.size + -info.size % _BLOCK_BYTES
    start, length, mtime = info.offset, end - info.offset, int(info.mtime)
    if info.issym():
        return Entry(path, LINK, start, length, mode=0o777, mtime=mtime, target=info.linkname)
    if info.isdir():
        return Entry(path, FOLDER, start, length, mtime=mtime)
    digests = Digests()
    content = archive.extractfile(info)
    while content is not None and (piece := content.read(_PIECE_BYTES)):
        digests.update(piece)
    return Entry(path, FILE, start, length, info.mode, info.size, mtime, *digests.found())
