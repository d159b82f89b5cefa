"""Writes the artifact: the one form in which a package travels to a node.

A gzipped tar (GNU long names, which every tar reads) of `release/`, folders and files first, symbolic links behind
them, and of `files`: a NUL-separated list of the release's files and links, each as `./path`, in the order of their bytes
(as `sort` and `comm` on a node have it with LC_ALL=C). All belongs to 0:0 and has mode 0644 or 0755. Times are the package's
own, in whole seconds, so that a web server that makes ETags of them does not mistake one release's files for another's. The
same package makes the same bytes.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from deploys.packages.archive import manifest
from deploys.packages.archive.manifest import FILE, FOLDER, LINK, Digests, Entry

ROOT = "release"
LIST = "files"
_BLOCK_BYTES = 512
_NAME_BYTES = 100
_FILE, _SYMLINK, _FOLDER = b"0", b"2", b"5"
# GNU tar warns of every file from 1970-01-01 00:00:00.
_EARLIEST = 1
# What a file or folder takes on a common file system at the least, and is a multiple of.
_DISK_BLOCK_BYTES = 4096
_LATEST = 0o77777777777
# Of a tar.
END = bytes(2 * _BLOCK_BYTES)


class ArtifactWriter:
    """unpacked_bytes: about what the release will take on a disk, its folders and last blocks included."""

    def __init__(self, file: BinaryIO, manifest_file: BinaryIO | None = None) -> None:
        """manifest_file: gets the artifact's manifest (`archive.manifest`)."""
        self._file = file
        self._manifest_file = manifest_file
        self._gzip = zlib.compressobj(level=1, wbits=31)
        self._sha256 = hashlib.sha256()
        self._listed: list[bytes] = []
        self._tar_bytes = 0
        self._written_bytes = 0
        self.unpacked_bytes = 0
        self._add(_header(f"{ROOT}/", _FOLDER, mode=0o755))

    def add_folder(self, path: str, *, mtime: int = 0) -> None:
        start = self._tar_bytes
        self._add(_header(f"{ROOT}/{path}/", _FOLDER, mode=0o755, mtime=mtime))
        self._note(Entry(path, FOLDER, start, self._tar_bytes - start, mtime=stored_mtime(mtime)))
        self.unpacked_bytes += _DISK_BLOCK_BYTES

    def add_file(self, path: str, content: Iterable[bytes], *, size: int, is_executable: bool, mtime: int) -> None:
        """`content` must be `size` bytes together."""
        mode, start, digests = 0o755 if is_executable else 0o644, self._tar_bytes, Digests()
        self._add(_header(f"{ROOT}/{path}", _FILE, mode=mode, mtime=mtime, size=size))
        for piece in content:
            self._add(piece)
            digests.update(piece)
        self._add(bytes(-size % _BLOCK_BYTES))
        length = self._tar_bytes - start
        self._note(Entry(path, FILE, start, length, mode, size, stored_mtime(mtime), *digests.found()))
        self._list(path)
        self.unpacked_bytes += size + -size % _DISK_BLOCK_BYTES

    def add_symlink(self, path: str, target: str) -> None:
        start = self._tar_bytes
        self._add(_header(f"{ROOT}/{path}", _SYMLINK, mode=0o777, target=target))
        self._note(Entry(path, LINK, start, self._tar_bytes - start, mode=0o777, mtime=stored_mtime(0), target=target))
        self._list(path)

    def finish(self) -> tuple[str, int]:
        """The artifact's sha256, and its size in bytes."""
        self._add(small_file(LIST, listed(self._listed)) + END)
        self._write(self._gzip.flush())
        sha256 = self._sha256.hexdigest()
        if self._manifest_file is not None:
            manifest.finish(self._manifest_file, artifact_sha256=sha256)
        return sha256, self._written_bytes

    def _list(self, path: str) -> None:
        self._listed.append(path.encode())

    def _note(self, entry: Entry) -> None:
        if self._manifest_file is not None:
            manifest.write(self._manifest_file, [entry])

    def _add(self, content: bytes) -> None:
        self._tar_bytes += len(content)
        self._write(self._gzip.compress(content))

    def _write(self, compressed: bytes) -> None:
        if not compressed:
            return
        self._file.write(compressed)
        self._sha256.update(compressed)
        self._written_bytes += len(compressed)


def listed(paths: Iterable[bytes]) -> bytes:
    """As a node's tools read names of the release's files."""
    return b"".join(b"./" + path + b"\0" for path in sorted(paths))


def small_file(name: str, content: bytes) -> bytes:
    """A file beside the release, as it stands in the tar."""
    return _header(name, _FILE, mode=0o644, size=len(content)) + content + bytes(-len(content) % _BLOCK_BYTES)


def stored_mtime(mtime: int) -> int:
    return min(max(mtime, _EARLIEST), _LATEST)


def _header(name: str, kind: bytes, *, mode: int, mtime: int = 0, size: int = 0, target: str = "") -> bytes:
    """A member's header, long names in front of it. `tarfile` makes the same bytes in twice the time."""
    raw_name, raw_target = name.encode(), target.encode()
    header = _block(raw_name, kind, mode=mode, mtime=stored_mtime(mtime), size=size, target=raw_target)
    if len(raw_name) > _NAME_BYTES:
        header = _long(b"L", raw_name) + header
    if len(raw_target) > _NAME_BYTES:
        header = _long(b"K", raw_target) + header
    return header


def _long(kind: bytes, name: bytes) -> bytes:
    content = name + b"\0"
    block = _block(b"././@LongLink", kind, mode=0, mtime=0, size=len(content), target=b"")
    return block + content + bytes(-len(content) % _BLOCK_BYTES)


def _block(name: bytes, kind: bytes, *, mode: int, mtime: int, size: int, target: bytes) -> bytes:
    fields = (
        name[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"),
        b"%07o\0" % mode,
        b"0000000\0" * 2,  # owner and group
        b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big"),
        b"%011o\0" % mtime,
        b" " * 8,
        kind,
        target[:_NAME_BYTES].ljust(_NAME_BYTES, b"\0"),
        b"ustar  \0",
        bytes(_BLOCK_BYTES - 265),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
