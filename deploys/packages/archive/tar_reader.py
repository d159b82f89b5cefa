"""A strict, streaming reader of tar: v7, ustar, pax and GNU long names (POSIX.1-2017 pax, GNU tar manual).

Python's `tarfile` reads an extended header whole, however large, and takes a damaged header for the end of the archive;
here the first is bounded and the second is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploys.packages.archive.members import Kind, Member, Members
from deploys.packages.archive.refusals import INVALID, TOO_LARGE, UNSAFE, Limits, Refused, shown, truncated
from deploys.packages.archive.streams import Stream

BLOCK_BYTES = 512
_ZEROS = bytes(BLOCK_BYTES)
_KINDS = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"7": Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"5": Kind.FOLDER,
}
_REFUSED_TYPES = {b"3": "a character device", b"4": "a block device", b"6": "a fifo", b"S": "a sparse file"}
_EXTENDED = (b"x", b"g", b"L", b"K")
# A real archive has at most three extended headers in front of a member.
_MAX_EXTENDED = 8


@dataclass(frozen=True, kw_only=True)
class _Extended:
    """What extended headers say of the member behind them."""

    name: bytes | None = None
    target: bytes | None = None
    size: int | None = None
    mtime: int | None = None


def is_tar_header(block: bytes) -> bool:
    """True when the block's checksum is that of a tar header: the one thing all kinds of tar share."""
    digits = block[148:156].strip(b" \0")
    if len(block) != BLOCK_BYTES or not digits or digits.strip(b"01234567"):
        return False
    return int(digits, 8) == sum(block) - sum(block[148:156]) + 8 * 32


def read_tar(stream: Stream, limits: Limits) -> Members:
    """Every member of the archive, to its very end. Raises `Refused`."""
    source = _Blocks(stream)
    while (header := source.header()) is not None:
        extended = _Extended()
        for _ in range(_MAX_EXTENDED):
            if header[156:157] not in _EXTENDED:
                break
            extended = _read_extended(header, source, extended, limits)
            header = source.header()
            if header is None:
                raise truncated()
        member = _member(header, extended)
        content = source.content(member.size)
        yield member, content
        for _ in content:
            pass
    source.expect_zeros_to_the_end()


class _Blocks:
    """The stream, read by exact amounts."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._piece = b""
        self._at = 0
        self._is_tar = False

    def header(self) -> bytes | None:
        """The next header block, its checksum verified; None for the mark of the archive's end."""
        block = self._exactly(BLOCK_BYTES)
        if block == _ZEROS:
            return None
        if not is_tar_header(block):
            what = "is damaged: a header's checksum is wrong" if self._is_tar else "holds no tar archive"
            raise Refused(INVALID, f"the archive {what}")
        self._is_tar = True
        return block

    def content(self, size: int) -> Iterator[bytes]:
        """`size` bytes in pieces, and past the padding behind them."""
        left = size
        while left:
            piece = self._some(left)
            left -= len(piece)
            yield piece
        self._exactly(-size % BLOCK_BYTES)

    def expect_zeros_to_the_end(self) -> None:
        rest = self._piece[self._at :]
        while rest or (rest := self._stream.read()):
            if rest.count(0) != len(rest):
                raise Refused(INVALID, "the archive is followed by bytes that are not part of it")
            rest = b""

    def exactly(self, size: int) -> bytes:
        """`size` bytes at once, and past the padding behind them."""
        content = self._exactly(size)
        self._exactly(-size % BLOCK_BYTES)
        return content

    def _exactly(self, size: int) -> bytes:
        if self._at + size <= len(self._piece):
            self._at += size
            return self._piece[self._at - size : self._at]
        pieces = []
        while size:
            pieces.append(self._some(size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    def _some(self, at_most: int) -> bytes:
        if self._at >= len(self._piece):
            self._piece, self._at = self._stream.read(), 0
            if not self._piece:
                raise truncated()
        part = self._piece[self._at : self._at + at_most]
        self._at += len(part)
        return part


def _member(header: bytes, extended: _Extended) -> Member:
    name = _text(_own_name(header) if extended.name is None else extended.name)
    target = _text(_c_string(header[157:257]) if extended.target is None else extended.target)
    kind = _kind(header, name)
    mode = _number(header[100:108], "mode") & 0o7777
    if mode & 0o4000 or (mode & 0o2000 and kind is Kind.FILE):
        # A folder's setgid bit only passes a group on; it goes with all other mode bits.
        raise Refused(UNSAFE, f"{shown(name)} is setuid or setgid")
    size = _number(header[124:136], "size") if extended.size is None else extended.size
    if size and kind is not Kind.FILE:
        raise Refused(INVALID, f"{shown(name)} is a {kind.value} and yet has content")
    return Member(
        name=name,
        kind=kind,
        size=size,
        is_executable=bool(mode & 0o111),
        mtime=_mtime(header) if extended.mtime is None else extended.mtime,
        target=target if kind in (Kind.SYMLINK, Kind.HARD_LINK) else "",
    )


def _kind(header: bytes, name: str) -> Kind:
    typeflag = header[156:157]
    kind = _KINDS.get(typeflag)
    if kind is None:
        what = _REFUSED_TYPES.get(typeflag, f"of the unknown type {typeflag!r}")
        raise Refused(UNSAFE, f"{shown(name)} is {what}; only files, folders and links are allowed")
    if kind is Kind.FILE and name.endswith("/"):
        # v7 had no type for folders.
        if typeflag != b"\0":
            raise Refused(INVALID, f"{shown(name)} is a file with a folder's name")
        return Kind.FOLDER
    return kind


def _own_name(header: bytes) -> bytes:
    name = _c_string(header[0:100])
    prefix = _c_string(header[345:500]) if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _read_extended(header: bytes, source: _Blocks, before: _Extended, limits: Limits) -> _Extended:
    size = _number(header[124:136], "size")
    if size > limits.header_bytes:
        raise Refused(
            TOO_LARGE, f"the archive has an extended header of {size} bytes; {limits.header_bytes} is the most"
        )
    content = source.exactly(size)
    match header[156:157]:
        case b"L":
            return replace(before, name=_long_name(content))
        case b"K":
            return replace(before, target=_long_name(content))
        case b"g":
            _check_global(content)
            return before
        case _:
            return _merged(before, content)


def _long_name(content: bytes) -> bytes:
    name, _, rest = content.partition(b"\0")
    if rest.strip(b"\0"):
        raise Refused(INVALID, "the archive is damaged: a long name has something behind its end")
    return name


def _check_global(content: bytes) -> None:
    """`git archive` leaves its commit in a global header; one that renames or resizes every member is hostile."""
    for key, _ in _records(content):
        if key in (b"path", b"linkpath", b"size") or key.startswith(b"GNU.sparse"):
            raise Refused(UNSAFE, f"the archive's global header sets {shown(key)} for every member")


def _merged(before: _Extended, content: bytes) -> _Extended:
    found = before
    for key, value in _records(content):
        match key:
            case b"path":
                found = replace(found, name=value)
            case b"linkpath":
                found = replace(found, target=value)
            case b"size":
                found = replace(found, size=_decimal(value))
            case b"mtime":
                found = replace(found, mtime=_seconds(value))
            case _ if key.startswith(b"GNU.sparse"):
                raise Refused(UNSAFE, "the archive holds a sparse file; only files, folders and links are allowed")
    return found


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A pax header's `LENGTH KEY=VALUE\\n` records; LENGTH counts the whole record."""
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 10)
        length = _decimal(content[at:space]) if space > at else 0
        record = content[space + 1 : at + length]
        key, equals, value = record[:-1].partition(b"=")
        if at + length > len(content) or not record.endswith(b"\n") or not equals or not key:
            raise Refused(INVALID, "the archive is damaged: an extended header can't be read")
        yield key, value
        at += length


def _number(field: bytes, what: str) -> int:
    """Octal digits between blanks, or, with the top bit set, a big-endian number (GNU)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise Refused(INVALID, f"the archive is damaged: a header's {what} can't be read")
    return int(digits or b"0", 8)


def _mtime(header: bytes) -> int:
    # 0xff: a negative number, that is, a time before 1970.
    return 0 if header[136] == 0xFF else _number(header[136:148], "time")


def _decimal(value: bytes) -> int:
    if not 0 < len(value) <= 20 or not value.isdigit():
        raise Refused(INVALID, "the archive is damaged: an extended header has a wrong number")
    return int(value)


def _seconds(value: bytes) -> int:
    whole = value.partition(b".")[0]
    return 0 if whole.startswith(b"-") else _decimal(whole)


def _c_string(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise Refused(UNSAFE, f"the name {shown(name)} is not UTF-8") from None
