"""A zip's central directory (PKWARE APPNOTE 6.3), read entry by entry and held to what it says of itself."""

from __future__ import annotations

import calendar
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from deploys.packages.archive.refusals import INVALID, Limits, Refused, names_too_long, truncated
from inventory.told import Told
from inventory.told import marked as gettext_noop

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s2B5H3L5H2L")
_LONGEST_COMMENT = 0xFFFF
UNICODE_PATH = 0x7075
_MADE_ON_UNIX = (3, 19)  # 19: macOS
_MADE_ON_WINDOWS = (0, 10, 14)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A member as the central directory describes it. unicode_path: its extra field 0x7075, as it is."""

    name: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int
    unix_mode: int
    is_made_on_windows: bool
    mtime: int
    unicode_path: bytes


def find_directory(file: BinaryIO, length: int) -> tuple[int, int, int]:
    """How many entries the central directory has, where it starts and where it ends."""
    tail_start = max(0, length - _END.size - _LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read(length - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0 and at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") != len(tail):
        at = tail.rfind(b"PK\x05\x06", 0, at)
    if at < 0:
        raise Refused(
            INVALID,
            Told(gettext_noop("the zip archive has no end: it was cut short, or something follows it")),
            Told(
                gettext_noop("See that the upload to the package host was complete, or pack it again, and deploy that.")
            ),
        )
    _, disk, start_disk, on_disk, count, size, start, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if _has_end64(file, end):
        disk, start_disk, on_disk, count, size, start, end = _directory64(file, end)
    if disk or start_disk or on_disk != count:
        raise Refused(
            INVALID,
            Told(gettext_noop("the zip archive is one part of several")),
            Told(gettext_noop("Pack it as one file (zip -s 0), and deploy that.")),
        )
    if start + size != end:
        raise Refused(INVALID, Told(gettext_noop("the zip archive is damaged: its directory is not where it says")))
    return count, start, end


def _has_end64(file: BinaryIO, end: int) -> bool:
    at = end - _END64_LOCATOR.size
    return at >= 0 and read_at(file, at, 4) == b"PK\x06\x07"


def _directory64(file: BinaryIO, end: int) -> tuple[int, int, int, int, int, int, int]:
    damaged = Refused(INVALID, Told(gettext_noop("the zip archive is damaged: its end (zip64) can't be read")))
    if end < _END64_LOCATOR.size + _END64.size:
        raise damaged
    signature, _, at, _ = _END64_LOCATOR.unpack(read_at(file, end - _END64_LOCATOR.size, _END64_LOCATOR.size))
    if signature != b"PK\x06\x07" or at + _END64.size > end - _END64_LOCATOR.size:
        raise damaged
    fields = _END64.unpack(read_at(file, at, _END64.size))
    signature, length, _, _, disk, start_disk, on_disk, count, size, start = fields
    if signature != b"PK\x06\x06" or at + 12 + length != end - _END64_LOCATOR.size:
        raise damaged
    return disk, start_disk, on_disk, count, size, start, at


def read_entries(file: BinaryIO, count: int, start: int, end: int, limits: Limits) -> list[Entry]:
    entries = []
    name_bytes = 0
    file.seek(start)
    for _ in range(count):
        if file.tell() + _ENTRY.size > end:
            raise Refused(
                INVALID, Told(gettext_noop("the zip archive is damaged: its directory has fewer entries than it says"))
            )
        entry = _read_entry(file)
        name_bytes += len(entry.name)
        if name_bytes > limits.name_bytes:
            raise names_too_long(limits)
        entries.append(entry)
    if file.tell() != end:
        raise Refused(
            INVALID, Told(gettext_noop("the zip archive is damaged: its directory has more in it than it says"))
        )
    return entries


def _read_entry(file: BinaryIO) -> Entry:
    fields = _ENTRY.unpack(read(file, _ENTRY.size))
    signature, _, made_on, _, flags, method, time, date, crc, compressed, size = fields[:11]
    name_length, extra_length, comment_length, disk, _, attributes, offset = fields[11:]
    if signature != b"PK\x01\x02" or disk not in (0, 0xFFFF):
        raise Refused(INVALID, Told(gettext_noop("the zip archive is damaged: its directory can't be read")))
    name = read(file, name_length)
    extra = dict(extra_fields(read(file, extra_length)))
    read(file, comment_length)
    wide = extra.get(1, b"")
    size, wide = _widened(size, wide)
    compressed, wide = _widened(compressed, wide)
    offset, wide = _widened(offset, wide)
    return Entry(
        name=name,
        flags=flags,
        method=method,
        crc=crc,
        compressed=compressed,
        size=size,
        offset=offset,
        unix_mode=attributes >> 16 if made_on in _MADE_ON_UNIX else 0,
        is_made_on_windows=made_on in _MADE_ON_WINDOWS,
        unicode_path=extra.get(UNICODE_PATH, b""),
        mtime=_mtime(date, time, extra),
    )


def extra_fields(field: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(field):
        tag, length = struct.unpack_from("<HH", field, at)
        yield tag, field[at + 4 : at + 4 + length]
        at += 4 + length


def _widened(value: int, wide: bytes) -> tuple[int, bytes]:
    """A 32-bit field, or the next 64-bit one of the zip64 extra field where it says so."""
    if value != 0xFFFFFFFF:
        return value, wide
    if len(wide) < 8:
        raise Refused(INVALID, Told(gettext_noop("the zip archive is damaged: a size (zip64) is missing")))
    return int.from_bytes(wide[:8], "little"), wide[8:]


def _mtime(date: int, time: int, extra: dict[int, bytes]) -> int:
    """Seconds since 1970: of the extended timestamp, else of the DOS date, which names no time zone: UTC."""
    extended = extra.get(0x5455, b"")
    if len(extended) >= 5 and extended[0] & 1:
        return max(0, int.from_bytes(extended[1:5], "little", signed=True))
    day = (1980 + (date >> 9), max(1, (date >> 5) & 15), max(1, date & 31))
    return calendar.timegm((*day, time >> 11, (time >> 5) & 63, (time & 31) * 2)) if day[1] <= 12 else 0


def read_at(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return read(file, size)


def read(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise truncated()
    return content
