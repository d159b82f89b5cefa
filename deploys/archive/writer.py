"""Writes the artifact: the one form in which a package travels to a node.

A gzipped tar (GNU long names, which every tar reads) of `release/`, folders and files first, symbolic links behind
them, and of `files`: a NUL-separated list of the release's files and links, each as `./path`. Everything belongs to 0:0 and
has mode 0644 or 0755. Times are the package's own, in whole seconds, so that a web server that makes ETags of them
does not mistake one release's files for another's. The same package makes the same bytes.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

ROOT = "release"
MANIFEST = "files"
_BLOCK_BYTES = 512
# GNU tar warns of every file from 1970-01-01 00:00:00.
_EARLIEST = 1
_LATEST = 0o77777777777


class ArtifactWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._gzip = zlib.compressobj(level=1, wbits=31)
        self._sha256 = hashlib.sha256()
        self._manifest: list[bytes] = []
        self._written_bytes = 0
        self._add(_header(ROOT, tarfile.DIRTYPE, mode=0o755))

    def add_folder(self, path: str, *, mtime: int = 0) -> None:
        self._add(_header(f"{ROOT}/{path}", tarfile.DIRTYPE, mode=0o755, mtime=mtime))

    def add_file(self, path: str, content: Iterable[bytes], *, size: int, is_executable: bool, mtime: int) -> None:
        """`content` must be `size` bytes together."""
        mode = 0o755 if is_executable else 0o644
        self._add(_header(f"{ROOT}/{path}", tarfile.REGTYPE, mode=mode, mtime=mtime, size=size))
        for piece in content:
            self._add(piece)
        self._add(bytes(-size % _BLOCK_BYTES))
        self._list(path)

    def add_symlink(self, path: str, target: str) -> None:
        self._add(_header(f"{ROOT}/{path}", tarfile.SYMTYPE, mode=0o777, target=target))
        self._list(path)

    def finish(self) -> tuple[str, int, int]:
        """The artifact's sha256, its size in bytes, and how many files and links it holds."""
        content = b"".join(self._manifest)
        self._add(_header(MANIFEST, tarfile.REGTYPE, mode=0o644, size=len(content)))
        self._add(content + bytes(-len(content) % _BLOCK_BYTES) + bytes(2 * _BLOCK_BYTES))
        self._write(self._gzip.flush())
        return self._sha256.hexdigest(), self._written_bytes, len(self._manifest)

    def _list(self, path: str) -> None:
        self._manifest.append(b"./" + path.encode() + b"\0")

    def _add(self, content: bytes) -> None:
        self._write(self._gzip.compress(content))

    def _write(self, compressed: bytes) -> None:
        if not compressed:
            return
        self._file.write(compressed)
        self._sha256.update(compressed)
        self._written_bytes += len(compressed)


def _header(name: str, kind: bytes, *, mode: int, mtime: int = 0, size: int = 0, target: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = mode
    info.mtime = min(max(mtime, _EARLIEST), _LATEST)
    info.size = size
    info.linkname = target
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")
