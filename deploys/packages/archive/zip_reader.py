"""A strict reader of zip (PKWARE APPNOTE 6.3): what the central directory, a member's own header and its bytes say
must agree.

Python 3.11.7's `zipfile` reads the whole directory at once, lets members overlap and drops bytes beyond a member's
stated size.
"""

from __future__ import annotations

import calendar
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from deploys.packages.archive.members import Kind, Member, Members
from deploys.packages.archive.refusals import INVALID, TOO_LARGE, UNSAFE, Limits, Refused, shown, truncated
from deploys.packages.archive.streams import PIECE_BYTES, Meter

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s2B5H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _HAS_DESCRIPTOR, _STRONGLY_ENCRYPTED, _IS_UTF8, _MASKED = 0x1, 0x8, 0x40, 0x800, 0x2000
_MADE_ON_UNIX = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A member as the central directory describes it."""

    name: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int
    unix_mode: int
    mtime: int


def read_zip(file: BinaryIO, meter: Meter, limits: Limits) -> Members:
    """Every member, in the order of its bytes. Raises `Refused`."""
    length = file.seek(0, 2)
    count, start, end = _directory(file, length)
    if count > limits.entries:
        raise Refused(TOO_LARGE, f"the archive has {count} entries; {limits.entries} is the most")
    entries = sorted(_entries(file, count, start, end, limits), key=lambda entry: entry.offset)
    data_end = 0
    for entry in entries:
        if entry.offset < data_end:
            raise Refused(INVALID, f"{shown(entry.name)} overlaps the member before it: a zip bomb")
        data_start = _check_local_header(file, entry)
        data_end = data_start + entry.compressed
        if data_end > start:
            raise Refused(INVALID, f"{shown(entry.name)} reaches into the archive's directory")
        meter.add(bytes_in=entry.compressed)
        content = _content(file, entry, data_start, meter)
        member = _member(entry, content)
        yield member, content
        for _ in content:
            pass


def _directory(file: BinaryIO, length: int) -> tuple[int, int, int]:
    """How many entries the central directory has, where it starts and where it ends."""
    tail_start = max(0, length - _END.size - _LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read(length - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0 and at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") != len(tail):
        at = tail.rfind(b"PK\x05\x06", 0, at)
    if at < 0:
        raise Refused(INVALID, "the zip archive has no end: it was cut short, or something follows it")
    _, disk, start_disk, on_disk, count, size, start, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if _has_end64(file, end):
        disk, start_disk, on_disk, count, size, start, end = _directory64(file, end)
    if disk or start_disk or on_disk != count:
        raise Refused(INVALID, "the zip archive is one part of several")
    if start + size != end:
        raise Refused(INVALID, "the zip archive is damaged: its directory is not where it says")
    return count, start, end


def _has_end64(file: BinaryIO, end: int) -> bool:
    at = end - _END64_LOCATOR.size
    return at >= 0 and _read_at(file, at, 4) == b"PK\x06\x07"


def _directory64(file: BinaryIO, end: int) -> tuple[int, int, int, int, int, int, int]:
    damaged = Refused(INVALID, "the zip archive is damaged: its end (zip64) can't be read")
    if end < _END64_LOCATOR.size + _END64.size:
        raise damaged
    signature, _, at, _ = _END64_LOCATOR.unpack(_read_at(file, end - _END64_LOCATOR.size, _END64_LOCATOR.size))
    if signature != b"PK\x06\x07" or at + _END64.size > end - _END64_LOCATOR.size:
        raise damaged
    fields = _END64.unpack(_read_at(file, at, _END64.size))
    signature, length, _, _, disk, start_disk, on_disk, count, size, start = fields
    if signature != b"PK\x06\x06" or at + 12 + length != end - _END64_LOCATOR.size:
        raise damaged
    return disk, start_disk, on_disk, count, size, start, at


def _entries(file: BinaryIO, count: int, start: int, end: int, limits: Limits) -> list[_Entry]:
    entries = []
    name_bytes = 0
    file.seek(start)
    for _ in range(count):
        if file.tell() + _ENTRY.size > end:
            raise Refused(INVALID, "the zip archive is damaged: its directory has fewer entries than it says")
        entry = _entry(file)
        name_bytes += len(entry.name)
        if name_bytes > limits.name_bytes:
            raise Refused(TOO_LARGE, f"the archive's names take more than {limits.name_bytes} bytes")
        entries.append(entry)
    if file.tell() != end:
        raise Refused(INVALID, "the zip archive is damaged: its directory has more in it than it says")
    return entries


def _entry(file: BinaryIO) -> _Entry:
    fields = _ENTRY.unpack(_read(file, _ENTRY.size))
    signature, _, made_on, _, flags, method, time, date, crc, compressed, size = fields[:11]
    name_length, extra_length, comment_length, disk, _, attributes, offset = fields[11:]
    if signature != b"PK\x01\x02" or disk not in (0, 0xFFFF):
        raise Refused(INVALID, "the zip archive is damaged: its directory can't be read")
    name = _read(file, name_length)
    extra = dict(_extra(_read(file, extra_length)))
    _read(file, comment_length)
    wide = extra.get(1, b"")
    size, wide = _widened(size, wide)
    compressed, wide = _widened(compressed, wide)
    offset, wide = _widened(offset, wide)
    return _Entry(
        name=name,
        flags=flags,
        method=method,
        crc=crc,
        compressed=compressed,
        size=size,
        offset=offset,
        unix_mode=attributes >> 16 if made_on == _MADE_ON_UNIX else 0,
        mtime=_mtime(date, time, extra),
    )


def _extra(field: bytes) -> Iterator[tuple[int, bytes]]:
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
        raise Refused(INVALID, "the zip archive is damaged: a size (zip64) is missing")
    return int.from_bytes(wide[:8], "little"), wide[8:]


def _mtime(date: int, time: int, extra: dict[int, bytes]) -> int:
    """Seconds since 1970: of the extended timestamp, else of the DOS date, which names no time zone: UTC."""
    extended = extra.get(0x5455, b"")
    if len(extended) >= 5 and extended[0] & 1:
        return max(0, int.from_bytes(extended[1:5], "little", signed=True))
    day = (1980 + (date >> 9), max(1, (date >> 5) & 15), max(1, date & 31))
    return calendar.timegm((*day, time >> 11, (time >> 5) & 63, (time & 31) * 2)) if day[1] <= 12 else 0


def _check_local_header(file: BinaryIO, entry: _Entry) -> int:
    """Where the member's bytes start. Its own header must name the same member, stored the same way."""
    header = _LOCAL.unpack(_read_at(file, entry.offset, _LOCAL.size))
    signature, _, flags, method, _, _, crc, _, _, name_length, extra_length = header
    name = _read(file, name_length)
    if signature != b"PK\x03\x04" or (name, method) != (entry.name, entry.method):
        raise Refused(INVALID, f"{shown(entry.name)} is another member in the archive's directory than where it lies")
    if (flags | entry.flags) & (_ENCRYPTED | _STRONGLY_ENCRYPTED | _MASKED):
        raise Refused(INVALID, f"{shown(entry.name)} is encrypted")
    if not flags & _HAS_DESCRIPTOR and crc != entry.crc:
        raise Refused(INVALID, f"{shown(entry.name)} is damaged: it has two checksums")
    if method not in (_STORED, _DEFLATED):
        raise Refused(INVALID, f"{shown(entry.name)} is compressed by method {method}; stored and deflated are known")
    data_start: int = entry.offset + _LOCAL.size + name_length + extra_length
    return data_start


def _content(file: BinaryIO, entry: _Entry, start: int, meter: Meter) -> Iterator[bytes]:
    """The member's bytes: exactly as many as stated, with the stated checksum."""
    file.seek(start)
    pieces = _stored(file, entry.compressed) if entry.method == _STORED else _inflated(file, entry.compressed)
    crc = size = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
        size += len(piece)
        meter.add(bytes_out=len(piece))
        if size > entry.size:
            break
        yield piece
    if size != entry.size or crc != entry.crc:
        raise Refused(INVALID, f"{shown(entry.name)} is damaged: its size or checksum is not the stated one")


def _stored(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length:
        piece = _read(file, min(length, PIECE_BYTES))
        length -= len(piece)
        yield piece


def _inflated(file: BinaryIO, length: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=-15)
    try:
        for data in _stored(file, length):
            rest = data
            while rest or not inflater.eof:
                piece = inflater.decompress(rest, PIECE_BYTES)
                rest = inflater.unconsumed_tail
                if piece:
                    yield piece
                if inflater.unused_data:
                    raise Refused(INVALID, "the zip archive is damaged: a member has bytes behind its end")
                if len(piece) < PIECE_BYTES and not rest:
                    break
    except zlib.error as error:
        raise Refused(INVALID, f"the zip archive is damaged: {error}") from None
    if not inflater.eof:
        raise truncated()


def _member(entry: _Entry, content: Iterator[bytes]) -> Member:
    name = _name(entry)
    kind = _kind(entry.unix_mode, name)
    if entry.unix_mode & 0o4000 or (entry.unix_mode & 0o2000 and kind is Kind.FILE):
        raise Refused(UNSAFE, f"{shown(name)} is setuid or setgid")
    if kind is Kind.FOLDER and entry.size:
        raise Refused(INVALID, f"{shown(name)} is a folder and yet has content")
    return Member(
        name=name,
        kind=kind,
        size=entry.size if kind is Kind.FILE else 0,
        is_executable=bool(entry.unix_mode & 0o111),
        mtime=entry.mtime,
        target=_link_target(name, entry, content) if kind is Kind.SYMLINK else "",
    )


def _name(entry: _Entry) -> str:
    if b"\\" in entry.name:
        raise Refused(UNSAFE, f"the name {shown(entry.name)} has a backslash, which some take for a slash")
    try:
        return entry.name.decode()
    except UnicodeDecodeError:
        if entry.flags & _IS_UTF8:
            raise Refused(UNSAFE, f"the name {shown(entry.name)} is not UTF-8") from None
        return entry.name.decode("cp437")


def _kind(unix_mode: int, name: str) -> Kind:
    match stat.S_IFMT(unix_mode):
        case stat.S_IFLNK:
            return Kind.SYMLINK
        case stat.S_IFDIR:
            return Kind.FOLDER
        case 0 | stat.S_IFREG:
            return Kind.FOLDER if name.endswith("/") else Kind.FILE
        case _:
            raise Refused(
                UNSAFE, f"{shown(name)} is a device, a fifo or a socket; only files, folders and links are allowed"
            )


def _link_target(name: str, entry: _Entry, content: Iterator[bytes]) -> str:
    if entry.size > PIECE_BYTES:
        raise Refused(UNSAFE, f"the link {shown(name)} has a target of {entry.size} bytes")
    try:
        return b"".join(content).decode()
    except UnicodeDecodeError:
        raise Refused(UNSAFE, f"the target of the link {shown(name)} is not UTF-8") from None


def _read_at(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return _read(file, size)


def _read(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise truncated()
    return content
