"""Decompressed bytes of a package, in pieces of bounded size, held against the byte and ratio limits."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Protocol

from deploys.packages.archive.refusals import INVALID, TOO_LARGE, Limits, Refused, shown, truncated
from inventory.told import Told
from inventory.told import marked as gettext_noop

PIECE_BYTES = 64 * 1024
# `xz -9` needs 65 MiB to decompress; a hostile header may ask for 4 GiB.
XZ_MEMORY_BYTES = 128 * 1024**2


class Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Inflate:
    """zlib's object with the interface of `lzma`'s and `bz2`'s. wbits: as zlib has it, 31 for gzip, -15 for a zip's."""

    def __init__(self, wbits: int) -> None:
        self._zlib = zlib.decompressobj(wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = len(piece) < max_length
        return piece


def xz() -> Decompressor:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)


@dataclass(frozen=True, kw_only=True)
class Compression:
    """magic: how each compressed stream begins."""

    name: str
    magic: bytes
    new: Callable[[], Decompressor]


COMPRESSIONS = (
    Compression(name="gzip", magic=b"\x1f\x8b\x08", new=partial(Inflate, 31)),
    Compression(name="xz", magic=b"\xfd7zXZ\0", new=xz),
    Compression(name="bzip2", magic=b"BZh", new=bz2.BZ2Decompressor),
)


class Meter:
    """Counts what goes in and what comes out, and refuses a bomb as soon as it shows."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.bytes_in = 0
        self.bytes_out = 0

    def add(self, *, bytes_in: int = 0, bytes_out: int = 0) -> None:
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        limits = self._limits
        if self.bytes_out > limits.extracted_bytes:
            raise Refused(
                TOO_LARGE,
                Told(
                    gettext_noop("the archive extracts to more than %(extracted_bytes)s bytes"),
                    {"extracted_bytes": limits.extracted_bytes},
                ),
            )
        if self.bytes_out > limits.free_bytes and self.bytes_out > self.bytes_in * limits.ratio:
            raise Refused(
                TOO_LARGE,
                Told(
                    gettext_noop(
                        "the archive is a decompression bomb: its first %(bytes_in)s bytes extract to more than %(ratio)s "
                        "times as many"
                    ),
                    {"bytes_in": self.bytes_in, "ratio": limits.ratio},
                ),
            )


class Plain:
    """An archive that is not compressed."""

    def __init__(self, file: BinaryIO, meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def read(self) -> bytes:
        """The next piece; b"" at the end."""
        piece = self._file.read(PIECE_BYTES)
        self._meter.add(bytes_in=len(piece), bytes_out=len(piece))
        return piece


class Decompressed:
    """A compressed archive: one compressed stream or several, one right behind the other, then zeros or nothing.

    Tapes and some tools fill up with zeros, which `gzip` passes over as well.
    """

    def __init__(self, file: BinaryIO, meter: Meter, kind: Compression) -> None:
        self._file = file
        self._meter = meter
        self._kind = kind
        self._decompressor = kind.new()
        self._ended = False

    def read(self) -> bytes:
        """The next piece; b"" at the end, by which time every checksum of the format was found right."""
        piece = b""
        while not piece and not self._ended:
            try:
                piece = self._step()
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # of this host's disk; bz2's own have no number
                raise Refused(
                    INVALID,
                    Told(
                        gettext_noop("the archive's %(name)s data is damaged: %(error)s"),
                        {"name": self._kind.name, "error": str(error)},
                    ),
                ) from None
        return piece

    def _step(self) -> bytes:
        data = b""
        if self._decompressor.eof:
            data = self._start_of_next()
            if not data:
                self._ended = True
                return b""
            self._decompressor = self._kind.new()
        elif self._decompressor.needs_input:
            data = self._take()
            if not data:
                raise truncated()
        piece = self._decompressor.decompress(data, PIECE_BYTES)
        self._meter.add(bytes_out=len(piece))
        return piece

    def _start_of_next(self) -> bytes:
        """What is behind one compressed stream when that is another one, b"" at the end."""
        data = self._decompressor.unused_data
        while len(rest := data.lstrip(b"\0")) < len(self._kind.magic):
            more = self._take()
            if not more:
                break
            data = rest + more
        if rest and not rest.startswith(self._kind.magic):
            text = gettext_noop("bytes that are no part of it follow the end of the archive's %(name)s data: %(rest)s")
            if len(rest) > 8:
                text = gettext_noop(
                    "bytes that are no part of it follow the end of the archive's %(name)s data: %(rest)s and more"
                )
            raise Refused(
                INVALID,
                Told(text, {"name": self._kind.name, "rest": shown(rest[:8])}),
                Told(
                    gettext_noop(
                        "Something added them on the way from the build: pack it anew, or cut them off, and deploy that."
                    )
                ),
            )
        return rest

    def _take(self) -> bytes:
        data = self._file.read(PIECE_BYTES)
        self._meter.add(bytes_in=len(data))
        return data


Stream = Plain | Decompressed
