"""A strict, streaming reader of tar: v7, ustar, pax and GNU long names (POSIX.1-2017 pax, GNU tar manual).

Python's `tarfile` reads an extended header whole, however large, and takes a damaged header for the end of the archive;
here the first is bounded and the second is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploys.packages.archive import sparse, tar_fields
from deploys.packages.archive.members import Kind, Member, Members
from deploys.packages.archive.refusals import INVALID, TOO_LARGE, UNSAFE, Limits, Refused, shown, truncated
from deploys.packages.archive.streams import Meter, Stream
from deploys.packages.archive.tar_fields import BLOCK_BYTES, c_string, is_tar_header, text
from inventory.told import Told
from inventory.told import marked as gettext_noop

_ZEROS = bytes(BLOCK_BYTES)
_SPARSE, _VOLUME_LABEL, _DUMPED_FOLDER = b"S", b"V", b"D"
_KINDS = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"7": Kind.FILE,
    _SPARSE: Kind.FILE,
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"5": Kind.FOLDER,
    _DUMPED_FOLDER: Kind.FOLDER,
}
_DEVICES = {
    b"3": gettext_noop("a character device"),
    b"4": gettext_noop("a block device"),
    b"6": gettext_noop("a fifo"),
}
_PAX = (b"x", b"X")  # X: as Solaris writes it
_EXTENDED = (*_PAX, b"g", b"L", b"K")
# A real archive has at most three extended headers in front of a member.
_MAX_EXTENDED = 8


@dataclass(frozen=True, kw_only=True)
class _Extended:
    """What extended headers say of the member behind them."""

    name: bytes | None = None
    target: bytes | None = None
    size: int | None = None
    mtime: int | None = None
    sparse: tuple[sparse.Record, ...] = ()


def read_tar(stream: Stream, meter: Meter, limits: Limits) -> Members:
    """Every member of the archive, to its very end. Raises `Refused`."""
    source = _Blocks(stream)
    while (header := source.header()) is not None:
        header, extended = _extended_headers(header, source, limits)
        stored = _stored_bytes(header, extended)
        if header[156:157] == _VOLUME_LABEL:
            source.skip(stored)
            continue
        map_of_holes, stored = _sparse(header, extended, source, stored)
        member = _member(header, extended, stored if map_of_holes is None else map_of_holes.size)
        content = source.content(stored)
        if map_of_holes is not None:
            content = sparse.expanded(content, map_of_holes, meter)
        yield member, content
        for _ in content:
            pass
    source.expect_zeros_to_the_end()


def _extended_headers(header: bytes, source: _Blocks, limits: Limits) -> tuple[bytes, _Extended]:
    """The member's own header, and what those in front of it say."""
    extended = _Extended()
    for _ in range(_MAX_EXTENDED):
        if header[156:157] not in _EXTENDED:
            break
        extended = _read_extended(header, source, extended, limits)
        following = source.header()
        if following is None:
            raise truncated()
        header = following
    return header, extended


def _stored_bytes(header: bytes, extended: _Extended) -> int:
    # A hard link's size is that of the file it shares; no bytes of it follow.
    if header[156:157] == b"1":
        return 0
    return tar_fields.number(header[124:136], "size") if extended.size is None else extended.size


def _sparse(header: bytes, extended: _Extended, source: _Blocks, stored: int) -> tuple[sparse.Sparse | None, int]:
    """The member's map of holes, if it has one, and how many bytes are stored behind that."""
    if header[156:157] == _SPARSE:
        found = sparse.from_gnu_header(header, source.exactly)
    elif extended.sparse:
        found, stored = sparse.from_records(extended.sparse, source.exactly, stored)
    else:
        return None, stored
    found.check(stored)
    return found, stored


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
            text = gettext_noop("the archive holds no tar archive")
            if self._is_tar:
                text = gettext_noop("the archive is damaged: a header's checksum is wrong")
            raise Refused(INVALID, Told(text))
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
                raise Refused(INVALID, Told(gettext_noop("the archive is followed by bytes that are not part of it")))
            rest = b""

    def skip(self, size: int) -> None:
        for _ in self.content(size):
            pass

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


def _member(header: bytes, extended: _Extended, size: int) -> Member:
    name = text(_own_name(header) if extended.name is None else extended.name)
    target = text(c_string(header[157:257]) if extended.target is None else extended.target)
    kind = _kind(header, name)
    mode = tar_fields.number(header[100:108], "mode")
    if size and kind is not Kind.FILE and header[156:157] != _DUMPED_FOLDER:
        raise Refused(
            INVALID,
            Told(gettext_noop("%(name)s is a %(kind)s and yet has content"), {"name": shown(name), "kind": kind.told}),
        )
    return Member(
        name=name,
        kind=kind,
        size=size if kind is Kind.FILE else 0,
        is_executable=bool(mode & 0o111),
        mtime=tar_fields.header_time(header[136:148]) if extended.mtime is None else extended.mtime,
        target=target if kind in (Kind.SYMLINK, Kind.HARD_LINK) else "",
        has_special_bits=bool(mode & 0o7000) and kind in (Kind.FILE, Kind.FOLDER),
    )


def _kind(header: bytes, name: str) -> Kind:
    typeflag = header[156:157]
    kind = _KINDS.get(typeflag)
    if typeflag in _DEVICES:
        raise Refused(
            UNSAFE,
            Told(
                gettext_noop("%(name)s is %(kind)s; only files, folders and links are allowed"),
                {"name": shown(name), "kind": Told(_DEVICES[typeflag])},
            ),
        )
    if kind is None:
        raise Refused(
            INVALID,
            Told(
                gettext_noop("%(name)s is of the unknown type %(typeflag)s; only files, folders and links are known"),
                {"name": shown(name), "typeflag": repr(typeflag)},
            ),
        )
    # v7 had no type for folders, and others keep to its way.
    return Kind.FOLDER if kind is Kind.FILE and name.endswith("/") else kind


def _own_name(header: bytes) -> bytes:
    name = c_string(header[0:100])
    prefix = c_string(header[345:500]) if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _read_extended(header: bytes, source: _Blocks, before: _Extended, limits: Limits) -> _Extended:
    size = tar_fields.number(header[124:136], "size")
    if size > limits.header_bytes:
        raise Refused(
            TOO_LARGE,
            Told(
                gettext_noop("the archive has an extended header of %(size)s bytes; %(header_bytes)s is the most"),
                {"size": size, "header_bytes": limits.header_bytes},
            ),
        )
    content = source.exactly(size)
    match header[156:157]:
        case b"L":
            return replace(before, name=tar_fields.long_name(content))
        case b"K":
            return replace(before, target=tar_fields.long_name(content))
        case b"g":
            _check_global(content)
            return before
        case _:
            return _merged(before, content)


def _check_global(content: bytes) -> None:
    """`git archive` leaves its commit in a global header; one that renames or resizes every member is hostile."""
    for key, _ in tar_fields.records(content):
        if key in (b"path", b"linkpath", b"size") or key.startswith(sparse.PREFIX):
            raise Refused(
                UNSAFE,
                Told(gettext_noop("the archive's global header sets %(key)s for every member"), {"key": shown(key)}),
            )


def _merged(before: _Extended, content: bytes) -> _Extended:
    found, parts = before, list[sparse.Record]()
    for key, value in tar_fields.records(content):
        match key:
            case b"path":
                found = replace(found, name=value)
            case b"linkpath":
                found = replace(found, target=value)
            case b"size":
                found = replace(found, size=tar_fields.decimal(value))
            case b"mtime":
                found = replace(found, mtime=tar_fields.seconds(value))
            case _ if key.startswith(sparse.PREFIX):
                parts.append((key, value))
    if not parts:
        return found
    return replace(found, sparse=found.sparse + tuple(parts), name=sparse.name_in(parts) or found.name)
