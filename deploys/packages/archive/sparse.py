"""Files with holes: tar keeps what lies between the holes, and a map of it (GNU tar manual, "Storing Sparse Files").

In all four forms: GNU's own header, and the versions 0.0, 0.1 and 1.0 in pax records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from deploys.packages.archive.refusals import INVALID, TOO_LARGE, Refused
from deploys.packages.archive.streams import PIECE_BYTES, Meter
from deploys.packages.archive.tar_fields import BLOCK_BYTES, decimal, number
from inventory.told import Told
from inventory.told import marked as gettext_noop

PREFIX = b"GNU.sparse."
# A map is kept in memory.
_MOST_PARTS = 200_000
_PART_BYTES = 24
_HOLE = bytes(PIECE_BYTES)

Record = tuple[bytes, bytes]
Take = Callable[[int], bytes]


@dataclass(frozen=True, kw_only=True)
class Sparse:
    """size: with the holes. parts: offset and length of what is stored, in this order."""

    size: int
    parts: Sequence[tuple[int, int]]

    def check(self, stored: int) -> None:
        """`stored` bytes are what the parts have together; they don't overlap, and end within the file."""
        at = 0
        for offset, length in self.parts:
            if offset < at:
                raise _damaged()
            at = offset + length
        if at > self.size or sum(length for _, length in self.parts) != stored:
            raise _damaged()


def from_gnu_header(header: bytes, take: Take) -> Sparse:
    """take: the next bytes behind the header, where the map goes on."""
    parts = list(_parts(header[386:482]))
    has_more = header[482]
    while has_more:
        block = take(BLOCK_BYTES)
        parts += _parts(block[:504])
        has_more = block[504]
        _check_count(len(parts))
    return Sparse(size=number(header[483:495], "size"), parts=parts)


def _parts(field: bytes) -> Iterator[tuple[int, int]]:
    for at in range(0, len(field), _PART_BYTES):
        part = field[at : at + _PART_BYTES]
        if part[12]:
            yield number(part[:12], "map"), number(part[12:], "map")


def name_in(records: Iterable[Record]) -> bytes | None:
    """The file's own name, where the header has one that only a tar without sparse files would use."""
    return dict(records).get(PREFIX + b"name")


def from_records(records: Sequence[Record], take: Take, stored: int) -> tuple[Sparse, int]:
    """Also how many of the member's `stored` bytes are behind the map. take: the member's next bytes."""
    found = dict(records)
    if PREFIX + b"major" in found:
        if (found[PREFIX + b"major"], found.get(PREFIX + b"minor")) != (b"1", b"0"):
            raise Refused(INVALID, Told(gettext_noop("the archive holds a sparse file of an unknown version")))
        parts, map_bytes = _map_in_front(take, stored)
        return Sparse(size=_size(found, b"realsize"), parts=parts), stored - map_bytes
    if PREFIX + b"map" in found:
        numbers = [decimal(value) for value in found[PREFIX + b"map"].split(b",")]
    else:
        numbers = [decimal(value) for key, value in records if key in (PREFIX + b"offset", PREFIX + b"numbytes")]
    return Sparse(size=_size(found, b"size"), parts=_paired(numbers)), stored


def _size(found: dict[bytes, bytes], key: bytes) -> int:
    return decimal(found.get(PREFIX + key, b""))


def _map_in_front(take: Take, stored: int) -> tuple[list[tuple[int, int]], int]:
    """Lines of decimal numbers, the first of which says how many pairs follow; filled up to a whole block."""
    text, at, numbers = bytearray(), 0, list[int]()
    count = 1
    while len(numbers) < count:
        end = text.find(b"\n", at)
        if end < 0:
            if len(text) + BLOCK_BYTES > stored:
                raise _damaged()
            text += take(BLOCK_BYTES)
            continue
        numbers.append(decimal(bytes(text[at:end])))
        at = end + 1
        if len(numbers) == 1:
            _check_count(numbers[0])
            count = 1 + 2 * numbers[0]
    return _paired(numbers[1:]), len(text)


def _paired(numbers: list[int]) -> list[tuple[int, int]]:
    if len(numbers) % 2:
        raise _damaged()
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _check_count(count: int) -> None:
    if count > _MOST_PARTS:
        raise Refused(
            TOO_LARGE,
            Told(gettext_noop("the archive holds a sparse file of more than %(most)s parts"), {"most": _MOST_PARTS}),
            Told(gettext_noop("Store that file in full (tar without --sparse), and deploy that.")),
        )


def expanded(stored: Iterator[bytes], sparse: Sparse, meter: Meter) -> Iterator[bytes]:
    """The file, holes and all. A hole counts as bytes that came out: a small archive may claim huge ones."""
    rest, at = b"", 0
    for offset, length in sparse.parts:
        yield from _hole(offset - at, meter)
        at = offset + length
        while length:
            rest = rest or next(stored)
            piece, rest = rest[:length], rest[length:]
            length -= len(piece)
            yield piece
    yield from _hole(sparse.size - at, meter)
    yield from stored


def _hole(length: int, meter: Meter) -> Iterator[bytes]:
    while length:
        piece = _HOLE[:length]
        length -= len(piece)
        meter.add(bytes_out=len(piece))
        yield piece


def _damaged() -> Refused:
    return Refused(
        INVALID,
        Told(gettext_noop("the archive is damaged: the map of a sparse file does not fit what is stored of it")),
    )
