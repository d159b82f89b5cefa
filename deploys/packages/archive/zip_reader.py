"""A strict reader of zip (PKWARE APPNOTE 6.3): what the central directory, a member's own header and its bytes say
must agree.

Python 3.11.7's `zipfile` reads the whole directory at once, lets members overlap, drops bytes beyond a member's stated
size and takes every name that is not marked as UTF-8 for cp437.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from deploys.packages.archive.members import Kind, Member, Members
from deploys.packages.archive.refusals import INVALID, UNSAFE, Limits, Refused, shown, too_many_entries
from deploys.packages.archive.streams import PIECE_BYTES, Meter
from deploys.packages.archive.tree import plain_path
from deploys.packages.archive.zip_directory import (
    UNICODE_PATH,
    Entry,
    extra_fields,
    find_directory,
    read,
    read_at,
    read_entries,
)
from deploys.packages.archive.zip_methods import check_method, member_pieces
from deploys.packages.archive.zip_names import Name, Names
from inventory.told import Told
from inventory.told import marked as gettext_noop

_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED, _HAS_DESCRIPTOR, _STRONGLY_ENCRYPTED, _MASKED = 0x1, 0x8, 0x40, 0x2000
_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


def read_zip(file: BinaryIO, meter: Meter, limits: Limits, zip_names: str) -> Members:
    """Every member, in the order of its bytes. Raises `Refused`. zip_names: see `zip_names.Names`."""
    length = file.seek(0, 2)
    count, start, end = find_directory(file, length)
    if count > limits.entries:
        raise too_many_entries(limits)
    entries = read_entries(file, count, start, end, limits)
    names = Names(entries, zip_names)
    _check_order(entries, names)
    data_end = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset < data_end:
            raise Refused(
                INVALID,
                Told(gettext_noop("%(name)s overlaps the member before it: a zip bomb"), {"name": shown(entry.name)}),
            )
        data_start = _check_local_header(file, entry)
        data_end = data_start + entry.compressed
        if data_end > start:
            raise Refused(
                INVALID,
                Told(gettext_noop("%(name)s reaches into the archive's directory"), {"name": shown(entry.name)}),
            )
        meter.add(bytes_in=entry.compressed)
        content = _content(file, entry, data_start, meter)
        member = _member(entry, names.of(entry), content)
        yield member, content
        for _ in content:
            pass


def _check_order(entries: list[Entry], names: Names) -> None:
    """Of a name that comes again the last counts: last in the directory and last among the bytes must be one."""
    offsets: dict[str, int] = {}
    for entry in entries:
        path = plain_path(names.of(entry).text)
        if offsets.get(path, -1) > entry.offset:
            raise Refused(
                INVALID,
                Told(
                    gettext_noop(
                        "%(path)s is in the archive twice, in another order in its directory than in its bytes"
                    ),
                    {"path": shown(path)},
                ),
            )
        offsets[path] = entry.offset


def _check_local_header(file: BinaryIO, entry: Entry) -> int:
    """Where the member's bytes start. Its own header must name the same member, stored the same way."""
    header = _LOCAL.unpack(read_at(file, entry.offset, _LOCAL.size))
    signature, _, flags, method, _, _, crc, _, _, name_length, extra_length = header
    name = read(file, name_length)
    unicode_path = dict(extra_fields(read(file, extra_length))).get(UNICODE_PATH, entry.unicode_path)
    said = (name, method, unicode_path)
    if signature != b"PK\x03\x04" or said != (entry.name, entry.method, entry.unicode_path):
        raise Refused(
            INVALID,
            Told(
                gettext_noop("%(name)s is another member in the archive's directory than where it lies"),
                {"name": shown(entry.name)},
            ),
        )
    if (flags | entry.flags) & (_ENCRYPTED | _STRONGLY_ENCRYPTED | _MASKED):
        raise Refused(
            INVALID,
            Told(gettext_noop("%(name)s is encrypted"), {"name": shown(entry.name)}),
            Told(gettext_noop("Pack it again without a password, and deploy that.")),
        )
    if not flags & _HAS_DESCRIPTOR and crc != entry.crc:
        raise Refused(
            INVALID, Told(gettext_noop("%(name)s is damaged: it has two checksums"), {"name": shown(entry.name)})
        )
    check_method(entry)
    data_start: int = entry.offset + _LOCAL.size + name_length + extra_length
    return data_start


def _content(file: BinaryIO, entry: Entry, start: int, meter: Meter) -> Iterator[bytes]:
    """The member's bytes: exactly as many as stated, with the stated checksum."""
    file.seek(start)
    crc = size = 0
    for piece in member_pieces(file, entry):
        crc = zlib.crc32(piece, crc)
        size += len(piece)
        meter.add(bytes_out=len(piece))
        if size > entry.size:
            break
        yield piece
    if size != entry.size or crc != entry.crc:
        raise Refused(
            INVALID,
            Told(
                gettext_noop("%(name)s is damaged: its size or checksum is not the stated one"),
                {"name": shown(entry.name)},
            ),
        )


def _member(entry: Entry, name: Name, content: Iterator[bytes]) -> Member:
    kind = _kind(entry.unix_mode, name.text)
    if kind is Kind.FOLDER and entry.size:
        raise Refused(
            INVALID, Told(gettext_noop("%(name)s is a folder and yet has content"), {"name": shown(name.text)})
        )
    return Member(
        name=name.text,
        kind=kind,
        size=entry.size if kind is Kind.FILE else 0,
        is_executable=bool(entry.unix_mode & 0o111),
        mtime=entry.mtime,
        target=_link_target(name.text, entry, content) if kind is Kind.SYMLINK else "",
        has_special_bits=bool(entry.unix_mode & _SPECIAL_BITS) and kind is not Kind.SYMLINK,
        has_guessed_name=name.is_guessed,
    )


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
                UNSAFE,
                Told(
                    gettext_noop("%(name)s is a device, a fifo or a socket; only files, folders and links are allowed"),
                    {"name": shown(name)},
                ),
            )


def _link_target(name: str, entry: Entry, content: Iterator[bytes]) -> str:
    if entry.size > PIECE_BYTES:
        raise Refused(
            INVALID,
            Told(
                gettext_noop("the link %(name)s has a target of %(size)s bytes"),
                {"name": shown(name), "size": entry.size},
            ),
        )
    try:
        return b"".join(content).decode()
    except UnicodeDecodeError:
        raise Refused(
            INVALID, Told(gettext_noop("the target of the link %(name)s is not UTF-8"), {"name": shown(name)})
        ) from None
