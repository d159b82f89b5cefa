"""How a zip's members are compressed (PKWARE APPNOTE 6.3, 4.4.5): those that the standard library can read."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO

from deploys.packages.archive.refusals import INVALID, Refused, shown, truncated
from deploys.packages.archive.streams import PIECE_BYTES, XZ_MEMORY_BYTES, Decompressor, Inflate, xz
from deploys.packages.archive.zip_directory import Entry, read
from inventory.told import Told
from inventory.told import marked as gettext_noop

_STORED, _LZMA = 0, 14
_DECOMPRESSORS: dict[int, Callable[[], Decompressor]] = {8: partial(Inflate, -15), 12: bz2.BZ2Decompressor, 95: xz}
_NAMES = {1: "Shrink", 6: "Implode", 9: "Deflate64", 93: "zstd", 98: "PPMd"}
_LZMA_HAS_END_MARK = 0x2


def check_method(entry: Entry) -> None:
    if entry.method in (_STORED, _LZMA) or entry.method in _DECOMPRESSORS:
        return
    raise Refused(
        INVALID,
        Told(
            gettext_noop("%(name)s is compressed by %(method)s; stored, deflated, bzip2, LZMA and xz are known"),
            {"name": shown(entry.name), "method": _NAMES.get(entry.method, f"method {entry.method}")},
        ),
        Told(gettext_noop("Pack it again with one of these (in 7-Zip: method Deflate), and deploy that.")),
    )


def member_pieces(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """The member's bytes as they were packed, from where the file stands. Raises `Refused`."""
    compressed = _taken(file, entry.compressed)
    if entry.method == _STORED:
        return compressed
    if entry.method == _LZMA:
        return _decompressed(_as_lzma_file(compressed, entry), _lzma)
    return _decompressed(compressed, _DECOMPRESSORS[entry.method])


def _lzma() -> Decompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=XZ_MEMORY_BYTES)


def _as_lzma_file(compressed: Iterator[bytes], entry: Entry) -> Iterator[bytes]:
    """Behind 4 bytes of the zip's own come the 5 of an `.lzma` file's header, which lack the size (APPNOTE 5.8.8)."""
    first = next(compressed, b"")
    if first[2:4] != b"\5\0":
        raise Refused(
            INVALID,
            Told(gettext_noop("%(name)s is damaged: its LZMA header can't be read"), {"name": shown(entry.name)}),
        )
    size = -1 if entry.flags & _LZMA_HAS_END_MARK else entry.size
    yield first[4:9] + size.to_bytes(8, "little", signed=True) + first[9:]
    yield from compressed


def _taken(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length:
        piece = read(file, min(length, PIECE_BYTES))
        length -= len(piece)
        yield piece


def _decompressed(compressed: Iterator[bytes], new: Callable[[], Decompressor]) -> Iterator[bytes]:
    """All of it, and nothing behind its end."""
    try:
        decompressor = new()
        while not decompressor.eof:
            data = next(compressed, b"") if decompressor.needs_input else b""
            if decompressor.needs_input and not data:
                raise truncated()
            if piece := decompressor.decompress(data, PIECE_BYTES):
                yield piece
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of this host's disk; bz2's own have no number
        raise Refused(
            INVALID, Told(gettext_noop("the zip archive is damaged: %(error)s"), {"error": str(error)})
        ) from None
    if decompressor.unused_data or next(compressed, b""):
        raise Refused(INVALID, Told(gettext_noop("the zip archive is damaged: a member has bytes behind its end")))
