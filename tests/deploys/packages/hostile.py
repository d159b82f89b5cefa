"""Archives as nobody's tool would make them: each header and each directory entry is spelled out."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

BLOCK = 512
END = bytes(2 * BLOCK)


def header(
    name: bytes | str,
    *,
    kind: bytes = b"0",
    size: int = 0,
    mode: int = 0o644,
    target: bytes | str = b"",
    magic: bytes = b"ustar\x0000",
    mtime: int = 1_700_000_000,
    prefix: bytes = b"",
) -> bytes:
    name = name.encode() if isinstance(name, str) else name
    target = target.encode() if isinstance(target, str) else target
    fields = [
        name.ljust(100, b"\0")[:100],
        b"%07o\0" % mode,
        b"0000000\0" * 2,
        b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big"),
        b"%011o\0" % mtime,
        b" " * 8,
        kind,
        target.ljust(100, b"\0")[:100],
        magic.ljust(345 - 257, b"\0"),
        prefix,
    ]
    block = b"".join(fields).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def file(name: bytes | str, content: bytes = b"x", **more: Any) -> bytes:
    return header(name, size=len(content), **more) + padded(content)


def folder(name: str, **more: Any) -> bytes:
    return header(name, kind=b"5", mode=more.pop("mode", 0o755), **more)


def symlink(name: str, target: str) -> bytes:
    return header(name, kind=b"2", target=target)


def hard_link(name: str, target: str) -> bytes:
    return header(name, kind=b"1", target=target)


def extended(content: bytes, kind: bytes = b"x") -> bytes:
    return header("ext", kind=kind, size=len(content)) + padded(content)


def pax(**records: str) -> bytes:
    return extended(b"".join(record(key.encode(), value.encode()) for key, value in records.items()))


def record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def tar(*members: bytes) -> bytes:
    return b"".join(members) + END


def gzipped_pieces(pieces: Iterable[bytes]) -> bytes:
    gzip = zlib.compressobj(9, wbits=31)
    return b"".join([*(gzip.compress(piece) for piece in pieces), gzip.flush()])


def made_tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """A tar as Python's own `tarfile` makes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def made_zip(files: dict[str, bytes], **attributes: int) -> bytes:
    """A zip as Python's own `zipfile` makes it; attributes: the unix mode by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (2024, 1, 15, 10, 30, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = attributes.get(name, 0o100644) << 16
            archive.writestr(info, content)
    return out.getvalue()


def zip_entry(
    name: bytes,
    content: bytes,
    *,
    offset: int = 0,
    flags: int = 0,
    method: int = 0,
    size: int | None = None,
    behind: bytes = b"",
) -> tuple[bytes, bytes]:
    """A member's own header with its bytes, and its entry in the directory."""
    stored = (_deflated(content) if method == 8 else content) + behind
    size = len(content) if size is None else size
    common = (20, flags, method, 0, 0x5821, zlib.crc32(content), len(stored), size, len(name), 0)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", *common) + name + stored
    entry = struct.pack("<4sH5H3L5H2L", b"PK\x01\x02", 0x0314, *common, 0, 0, 0, 0o100644 << 16, offset) + name
    return local, entry


def _deflated(content: bytes) -> bytes:
    deflate = zlib.compressobj(9, wbits=-15)
    return deflate.compress(content) + deflate.flush()


def single_zip(name: bytes, content: bytes, **more: Any) -> bytes:
    local, entry = zip_entry(name, content, **more)
    return zip_of(local, [entry])


def zip_of(body: bytes, entries: list[bytes], *, count: int | None = None, comment: bytes = b"") -> bytes:
    directory = b"".join(entries)
    count = len(entries) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), len(comment))
    return body + directory + end + comment
