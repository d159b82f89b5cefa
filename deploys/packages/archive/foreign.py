"""Files that are no package of ours, told apart by how they begin, so that a refusal can say what came instead."""

from __future__ import annotations

_KINDS = (
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"LZIP", "compressed with lzip"),
    (b"\x89LZO", "compressed with lzop"),
    (b"\x1f\x9d", "compressed with compress (.Z)"),
    (b"\x5d\x00\x00", "compressed with lzma (.lzma)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"MSCF", "a cabinet (.cab)"),
    (b"!<arch>\ndebian", "a Debian package (.deb)"),
    (b"!<arch>\n", "an ar archive"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
    (b"070701", "a cpio archive"),
    (b"070702", "a cpio archive"),
    (b"070707", "a cpio archive"),
    (b"hsqs", "a squashfs image"),
    (b"\x7fELF", "a program (ELF)"),
    (b"MZ", "a program for Windows"),
    (b"#!", "a script"),
    (b"PK\x07\x08", "one part of a zip archive"),
    (b"PK00", "one part of a zip archive"),
)


def foreign_kind(start: bytes) -> str:
    """`a RAR archive`, in words that follow "it is"; start: the file's first block."""
    if not start:
        return "empty"
    for magic, kind in _KINDS:
        if start.startswith(magic):
            return kind
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if text.startswith((b"<?xml", b"{", b"[")):
        return "a text (XML or JSON)"
    return "no archive of a known kind"
