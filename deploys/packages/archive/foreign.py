"""Files that are no package of ours, told apart by how they begin, so that a refusal can say what came instead."""

from __future__ import annotations

from inventory.told import marked as gettext_noop

_KINDS = (
    (b"\x28\xb5\x2f\xfd", gettext_noop("compressed with zstd")),
    (b"\x04\x22\x4d\x18", gettext_noop("compressed with lz4")),
    (b"LZIP", gettext_noop("compressed with lzip")),
    (b"\x89LZO", gettext_noop("compressed with lzop")),
    (b"\x1f\x9d", gettext_noop("compressed with compress (.Z)")),
    (b"\x5d\x00\x00", gettext_noop("compressed with lzma (.lzma)")),
    (b"7z\xbc\xaf\x27\x1c", gettext_noop("a 7z archive")),
    (b"Rar!\x1a\x07", gettext_noop("a RAR archive")),
    (b"MSCF", gettext_noop("a cabinet (.cab)")),
    (b"!<arch>\ndebian", gettext_noop("a Debian package (.deb)")),
    (b"!<arch>\n", gettext_noop("an ar archive")),
    (b"\xed\xab\xee\xdb", gettext_noop("an RPM package")),
    (b"070701", gettext_noop("a cpio archive")),
    (b"070702", gettext_noop("a cpio archive")),
    (b"070707", gettext_noop("a cpio archive")),
    (b"hsqs", gettext_noop("a squashfs image")),
    (b"\x7fELF", gettext_noop("a program (ELF)")),
    (b"MZ", gettext_noop("a program for Windows")),
    (b"#!", gettext_noop("a script")),
    (b"PK\x07\x08", gettext_noop("one part of a zip archive")),
    (b"PK00", gettext_noop("one part of a zip archive")),
)


def foreign_kind(start: bytes) -> str:
    """`a RAR archive`, a msgid in words that follow "it is"; start: the file's first block."""
    if not start:
        return gettext_noop("empty")
    for magic, kind in _KINDS:
        if start.startswith(magic):
            return kind
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return gettext_noop("a web page")
    if text.startswith((b"<?xml", b"{", b"[")):
        return gettext_noop("a text (XML or JSON)")
    return gettext_noop("no archive of a known kind")
