"""Single values of a tar's headers (POSIX.1-2017 pax, GNU tar manual). All raise `Refused`."""

from __future__ import annotations

from collections.abc import Iterator

from deploys.packages.archive.refusals import INVALID, Refused, shown
from inventory.told import Told
from inventory.told import marked as gettext_noop

BLOCK_BYTES = 512


def is_tar_header(block: bytes) -> bool:
    """True when the block's checksum is that of a tar header: the one thing all kinds of tar share.

    Old tars of Solaris and others summed signed bytes.
    """
    digits = block[148:156].strip(b" \0")
    if len(block) != BLOCK_BYTES or not digits or digits.strip(b"01234567"):
        return False
    counted = block[:148] + b" " * 8 + block[156:]
    stated = int(digits, 8)
    return stated == sum(counted) or stated == sum(counted) - 256 * sum(byte >= 0x80 for byte in counted)


def number(field: bytes, what: str) -> int:
    """Octal digits between blanks, or, with the top bit set, a big-endian number (GNU)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise Refused(
            INVALID, Told(gettext_noop("the archive is damaged: a header's %(what)s can't be read"), {"what": what})
        )
    return int(digits or b"0", 8)


def header_time(field: bytes) -> int:
    # 0xff: a negative number, that is, a time before 1970.
    return 0 if field[0] == 0xFF else number(field, "time")


def decimal(value: bytes) -> int:
    if not 0 < len(value) <= 20 or not value.isdigit():
        raise Refused(INVALID, Told(gettext_noop("the archive is damaged: an extended header has a wrong number")))
    return int(value)


def seconds(value: bytes) -> int:
    whole = value.partition(b".")[0]
    return 0 if whole.startswith(b"-") else decimal(whole)


def c_string(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise Refused(
            INVALID,
            Told(gettext_noop("the name %(name)s is not UTF-8"), {"name": shown(name)}),
            Told(gettext_noop("Name the file in UTF-8 where the package is built.")),
        ) from None


def long_name(content: bytes) -> bytes:
    """What a GNU header `L` or `K` holds."""
    name, _, rest = content.partition(b"\0")
    if rest.strip(b"\0"):
        raise Refused(INVALID, Told(gettext_noop("the archive is damaged: a long name has something behind its end")))
    return name


def records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A pax header's `LENGTH KEY=VALUE\\n` records; LENGTH counts the whole record."""
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 10)
        length = decimal(content[at:space]) if space > at else 0
        record = content[space + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if at + length > len(content) or not record.endswith(b"\n") or not equals or not key:
            raise Refused(INVALID, Told(gettext_noop("the archive is damaged: an extended header can't be read")))
        yield key, value
        at += length
