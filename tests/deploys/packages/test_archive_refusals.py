"""One bad member spoils the whole package (FAULTS.md, rows 25 and 26)."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import struct
import zlib
from pathlib import Path

import pytest

from deploys.packages.archive.refusals import Refused
from deploys.packages.errors import PackageError
from tests.deploys.packages.hostile import (
    END,
    extended,
    file,
    folder,
    hard_link,
    header,
    made_tar,
    made_zip,
    pax,
    record,
    single_zip,
    symlink,
    tar,
    zip_entry,
    zip_of,
)
from tests.deploys.packages.repacking import repack, repack_here

GOOD = file("good")

UNSAFE = {
    "parent": tar(file("../x")),
    "parent in the middle": tar(file("a/../../x")),
    "parent that stays inside": tar(file("a/../x")),
    "absolute": tar(file("/etc/cron.d/x")),
    "absolute by pax": tar(pax(path="/etc/x") + file("good")),
    "parent by pax": tar(pax(path="a/../../x") + file("good")),
    "parent by a GNU name": tar(extended(b"../x\0", b"L") + file("good")),
    "absolute by the ustar prefix": tar(header("x", prefix=b"/etc")),
    "parent by the ustar prefix": tar(header("x", prefix=b"a/../..")),
    "parent everywhere by a global header": tar(extended(record(b"path", b"../x"), b"g") + GOOD),
    "absolute link": tar(GOOD, symlink("l", "/etc/passwd")),
    "link out": tar(GOOD, symlink("l", "../x")),
    "link out from below": tar(GOOD, symlink("d/l", "../../x")),
    "link out through another link": tar(GOOD, folder("d"), symlink("d/up", ".."), symlink("l", "d/up/..")),
    "link out through two links": tar(GOOD, symlink("a", "b/.."), symlink("b", "c"), symlink("c", "."), folder("d")),
    "link out of a link target by pax": tar(GOOD, pax(linkpath="../../x") + symlink("l", "good")),
    "link made, then written through": tar(symlink("l", "d"), folder("d"), file("l/x")),
    "written first, link made in its place": tar(file("l/x"), symlink("l", "d")),
    "link replaced by a file": tar(folder("d"), symlink("l", "d"), file("l")),
    "folder replaced by a link": tar(GOOD, folder("d"), symlink("d", "good")),
    "hard link out": tar(GOOD, hard_link("h", "../x")),
    "absolute hard link": tar(GOOD, hard_link("h", "/etc/shadow")),
    "character device": tar(GOOD, header("dev", kind=b"3")),
    "block device": tar(GOOD, header("dev", kind=b"4")),
    "fifo": tar(GOOD, header("fifo", kind=b"6")),
    "newline": tar(file("a\nb")),
    "escape": tar(file("a\x1b[31m")),
    "C1 control": tar(file("a\u009bb")),
    "NUL by pax": tar(pax(path="a\0b") + file("good")),
    "newline in a link's target": tar(GOOD, symlink("l", "a\nb")),
    "zip: parent": made_zip({"../x": b"1"}),
    "zip: absolute": made_zip({"/x": b"1"}),
    "zip: backslash": single_zip(b"..\\x", b"1"),
    "zip: link out": made_zip({"good": b"1", "l": b"../x"}, l=stat.S_IFLNK | 0o777),
    "zip: fifo": made_zip({"good": b"1", "f": b""}, f=stat.S_IFIFO | 0o644),
    "zip: device": made_zip({"good": b"1", "f": b""}, f=stat.S_IFBLK | 0o644),
    "zip: written through a link": made_zip({"l": b"d", "d/": b"", "l/x": b"1"}, l=stat.S_IFLNK | 0o777),
}

PLAIN = tar(file("good", b"content" * 1000))
FLAT_ZIP = made_zip({"a": b"1" * 1000, "b": b"2" * 1000})
_local_a, _entry_a = zip_entry(b"a", b"1" * 100)
_local_b, _entry_b = zip_entry(b"b", b"1" * 100, offset=len(_local_a))


def _greedy_xz() -> bytes:
    """An xz whose block header asks for a dictionary of 4 GiB (xz file format 1.1.0, 3.1 and 5.3.1)."""
    xz = bytearray(lzma.compress(PLAIN))
    size = (xz[12] + 1) * 4
    assert xz[14:16] == b"\x21\x01"
    xz[16] = 40
    xz[12 + size - 4 : 12 + size] = struct.pack("<L", zlib.crc32(bytes(xz[12 : 12 + size - 4])))
    return bytes(xz)


INVALID = {
    "empty link": tar(GOOD, symlink("l", "")),
    "links in a circle": tar(GOOD, symlink("a", "b"), symlink("b", "a")),
    "link in its own way": tar(GOOD, symlink("a", "a/b")),
    "below a file": tar(GOOD, file("good/x")),
    "hard link to nothing": tar(GOOD, hard_link("h", "missing")),
    "hard link to a later file": tar(hard_link("h", "good"), GOOD),
    "hard link to itself": tar(GOOD, hard_link("h", "h")),
    "hard link to a folder": tar(GOOD, folder("d"), hard_link("h", "d")),
    "unknown type": tar(GOOD, header("what", kind=b"Z")),
    "not UTF-8": tar(file(b"caf\xe9")),
    "empty name": tar(file("")),
    "long component": tar(pax(path="x" * 256) + file("good")),
    "long path": tar(pax(path="/".join(["x" * 100] * 11)) + file("good")),
    "long link target": tar(GOOD, pax(linkpath="x/" * 600) + symlink("l", "good")),
    "reserved": tar(file(".release.json")),
    "reserved as a folder": tar(file(".release.json/x")),
    "file in the root's place": tar(file(".")),
    "link in the root's place": tar(GOOD, symlink("./", "good")),
    "nothing": b"",
    "a page": b"<!DOCTYPE html><html>Sign in</html>" * 20,
    "random": bytes(range(256)) * 10,
    "gzip of no tar": gzip.compress(b"hello" * 1000),
    "gzip of nothing": gzip.compress(b""),
    "no members": tar(),
    "folders only": tar(folder("a"), folder("a/b")),
    "cut in the content": PLAIN[:3000],
    "cut behind a member": tar(GOOD)[: -len(END)],
    "cut in a header": PLAIN[:300],
    "cut behind an extended header": pax(path="x") + END,
    "gzip cut": gzip.compress(PLAIN)[:-20],
    "gzip cut in its trailer": gzip.compress(PLAIN)[:-1],
    "gzip without its trailer": gzip.compress(PLAIN)[:-8],
    "gzip with a wrong checksum": gzip.compress(PLAIN)[:-8] + b"\0" * 8,
    "xz cut": lzma.compress(PLAIN)[:-1],
    "bz2 cut": bz2.compress(PLAIN)[:-1],
    "garbage behind the tar": PLAIN + b"garbage",
    "another tar behind the tar": PLAIN + PLAIN,
    "garbage inside the gzip": gzip.compress(PLAIN + b"garbage"),
    "garbage behind the gzip": gzip.compress(PLAIN) + b"garbage",
    "garbage behind the xz": lzma.compress(PLAIN) + b"garbage",
    "garbage behind the bz2": bz2.compress(PLAIN) + b"garbage",
    "damaged header": PLAIN[:20] + b"\xff" + PLAIN[21:],
    "damaged second header": tar(GOOD, b"\1" * 512),
    "xz that wants too much memory": _greedy_xz(),
    "folder with content": tar(GOOD, header("d", kind=b"5", size=512) + bytes(512)),
    "link with content": tar(GOOD, header("l", kind=b"2", size=512, target="good") + bytes(512)),
    "pax that lies about its length": tar(extended(b"99 path=x\n") + GOOD),
    "pax without an end": tar(extended(b"8 path=x") + GOOD),
    "pax with a negative length": tar(extended(b"-1 path=x\n") + GOOD),
    "pax with a negative size": tar(pax(size="-1") + GOOD),
    "pax with no number for a size": tar(pax(size="1e3") + GOOD),
    "GNU name with something behind it": tar(extended(b"a\0../x", b"L") + GOOD),
    "zip: encrypted": single_zip(b"a", b"1", flags=1),
    "zip: overlapping": zip_of(_local_a, [_entry_a, _entry_a]),
    "zip: overlapping in part": zip_of(
        _local_a + _local_b, [_entry_a, zip_entry(b"b", b"1" * 100, offset=len(_local_a) - 5)[1]]
    ),
    "zip: reaches into the directory": zip_of(_local_a[:-10], [_entry_a]),
    "zip: ends in the directory": zip_of(zip_entry(b"a", b"1PK\x01\x02")[0][:-4], [zip_entry(b"a", b"1PK\x01\x02")[1]]),
    "zip: directory of another size than stated": FLAT_ZIP[:-10] + struct.pack("<L", 1) + FLAT_ZIP[-6:],
    "zip: smaller than stated": single_zip(b"a", b"1", size=2),
    "zip: larger than stated": single_zip(b"a", b"1" * 99, method=8, size=2),
    "zip: wrong checksum": FLAT_ZIP.replace(struct.pack("<L", zlib.crc32(b"1" * 1000)), b"abcd"),
    "zip: other name in the directory": zip_of(_local_a, [_entry_a[:-1] + b"z"]),
    "zip: unknown method": single_zip(b"a", b"1", method=9),
    "zip: bzip2 that is none": single_zip(b"a", b"1", method=12),
    "zip: LZMA that is none": single_zip(b"a", b"1", method=14),
    "zip: LZMA that wants too much memory": single_zip(b"a", b"\0\0\5\0\x5d\xff\xff\xff\xff" + b"\0" * 20, method=14),
    "sparse file with more than there is": tar(header("s", kind=b"S", size=512) + bytes(512)),
    "zip: cut": FLAT_ZIP[:-1],
    "zip: garbage behind": FLAT_ZIP + b"garbage",
    "zip: something before": b"PK\x03\x04" + FLAT_ZIP,
    "zip: more entries than there are": zip_of(_local_a, [_entry_a], count=2),
    "zip: fewer entries than there are": zip_of(_local_a + _local_b, [_entry_a, _entry_b], count=1),
    "zip: folder with content": made_zip({"good": b"1", "d/": b"x"}),
    "zip: bytes behind a deflated member": single_zip(b"a", b"1" * 100, method=8, behind=b"1234"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_it_refuses_what_could_leave_the_release_or_surprise_a_node(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        repack_here(UNSAFE[name])
    assert refusal.value.code == "package_unsafe"


@pytest.mark.parametrize("name", INVALID)
def test_it_refuses_what_is_no_whole_archive(name: str) -> None:
    with pytest.raises(Refused) as refusal:
        repack_here(INVALID[name])
    assert refusal.value.code == "package_invalid"


@pytest.mark.parametrize(("package", "code"), [(UNSAFE["parent"], "package_unsafe"), (PLAIN[:300], "package_invalid")])
def test_the_child_passes_a_refusal_on_and_leaves_nothing(package: bytes, code: str, tmp_path: Path) -> None:
    with pytest.raises(PackageError) as refusal:
        repack(package, tmp_path)
    assert refusal.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_it_names_the_member_escaped_and_shortened() -> None:
    with pytest.raises(Refused) as refusal:
        repack_here(tar(pax(path="../\x1b[31m" + "x" * 900) + GOOD))
    assert "'../\\x1b[31mxxx" in refusal.value.message
    assert len(refusal.value.message) < 300


# Reorder text, join or split words, are not seen at all, or end a line.
UNSEEN = "\u202e\u202a\u2066\u2069\u200e\u061c\u200b\u200d\u2060\ufeff\u00ad\u180e\u2028\u2029\U000e0041\U0001d173"


@pytest.mark.parametrize("character", UNSEEN, ids=ascii)
def test_it_refuses_names_with_characters_that_nobody_sees(character: str) -> None:
    name = f"cod{character}gpj.exe"
    for package in (
        tar(GOOD, file(name)),
        tar(GOOD, file(f"{name}/x")),
        tar(GOOD, pax(path=name) + file("x")),
        tar(GOOD, symlink("l", name)),
        tar(GOOD, hard_link("h", name)),
        made_zip({"good": b"1", name: b"1"}),
    ):
        with pytest.raises(Refused) as refusal:
            repack_here(package)
        assert refusal.value.code == "package_unsafe"
        assert character not in refusal.value.message
        assert repr(name)[1:-1] in refusal.value.message
        assert f"U+{ord(character):04X}" in refusal.value.message


def test_names_in_any_script_are_taken() -> None:
    names = ["发布.txt", "straße", "cafe\u0301", "עברית", "❤\ufe0f.png", "a b"]
    assert len(repack_here(tar(*map(file, names))).manifest) == len(names)


def test_it_takes_what_the_refusals_are_built_from() -> None:
    """The same builders make archives that pass, so that no refusal above is one of a broken builder."""
    assert repack_here(tar(GOOD, symlink("l", "good"), hard_link("h", "good"), folder("d"))).manifest
    assert repack_here(zip_of(_local_a + _local_b, [_entry_b, _entry_a])).manifest == ["./a", "./b"]
    assert repack_here(single_zip(b"a", b"1" * 99, method=8)).manifest == ["./a"]
    assert repack_here(zip_of(_local_a, [_entry_a], comment=b"PK\x05\x06 hi")).manifest == ["./a"]
    assert repack_here(made_tar({"a": b"1"})).manifest == ["./a"]
