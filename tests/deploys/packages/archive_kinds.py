"""Packages as they are: what tools make, what they make by accident, and what nobody should send.

Each is what `docs/packages.md` has a line for. Those of real tools are made by them; where a tool is not to be had, the
bytes are those that it writes.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploys.packages.archive.zip_names import UTF8
from tests.deploys.packages.hostile import (
    END,
    extended,
    file,
    folder,
    hard_link,
    header,
    made_zip,
    padded,
    pax,
    record,
    symlink,
    tar,
    zip_entry,
    zip_of,
)

TAKEN, INVALID, UNSAFE, TOO_LARGE = "taken", "package_invalid", "package_unsafe", "package_too_large"
GOOD = file("good", b"good")
PLAIN = tar(file("app", b"content" * 1000))
CHINESE = "测试/说明.txt"
# Its second character's last byte in GBK is a backslash's: 0x5c.
BACKSLASH_IN_GBK = "项誠.txt"
HOLES = b"start".ljust(300_000, b"\0") + b"end".ljust(5000, b"\0")

Package = bytes | Callable[[Path], bytes]


@dataclass(frozen=True, kw_only=True)
class Case:
    """files: path → content of what is taken (a link: its target). says: what the refusal, or the log, names.

    make: the package, or what makes it in an empty folder.
    """

    make: Package
    outcome: str = TAKEN
    files: dict[str, bytes | str] | None = None
    says: str = ""
    zip_names: str = UTF8

    def package(self, folder: Path) -> bytes:
        if isinstance(self.make, bytes):
            return self.make
        folder.mkdir(exist_ok=True)
        return self.make(folder)


def _refused(make: Package, says: str, code: str = INVALID, **more: Any) -> Case:
    return Case(make=make, outcome=code, says=says, **more)


def _unsafe(make: Package, says: str) -> Case:
    return _refused(make, says, UNSAFE)


def _taken(make: Package, says: str = "", zip_names: str = UTF8, /, **files: bytes | str) -> Case:
    return Case(make=make, files=files, says=says, zip_names=zip_names)


def _as(files: dict[str, bytes | str], make: Package, says: str = "", zip_names: str = UTF8) -> Case:
    return Case(make=make, files=files, says=says, zip_names=zip_names)


# What real tools make of a folder.


def _run(folder: Path, *command: str) -> bytes:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout


def _tree(folder: Path, files: dict[str, bytes]) -> Path:
    root = folder / "tree"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def _found_and_packed(folder: Path) -> bytes:
    """A folder's files come with the folder, and once more by name: `find . | tar -T -`."""
    root = _tree(folder, {"lib/a": b"1", "lib/deep/b": b"2"})
    return subprocess.run(
        "find . | sort | tar -czf - -T -", shell=True, cwd=root, check=True, capture_output=True
    ).stdout


def _hard_linked_and_repeated(folder: Path) -> bytes:
    root = _tree(folder, {"a": b"1"})
    os.link(root / "a", root / "b")
    return subprocess.run("tar -cf - a b a b", shell=True, cwd=root, check=True, capture_output=True).stdout


def _appended(folder: Path) -> bytes:
    root = _tree(folder, {"a": b"old and longer", "b": b"b"})
    _run(root, "tar", "-cf", "../p.tar", "a", "b")
    (root / "a").write_bytes(b"new")
    _run(root, "tar", "-rf", "../p.tar", "a")
    return (folder / "p.tar").read_bytes()


def _hard_linked_symlinks(folder: Path) -> bytes:
    root = _tree(folder, {"good": b"good"})
    (root / "l").symlink_to("good")
    os.link(root / "l", root / "m", follow_symlinks=False)
    return _run(root, "tar", "-cf", "-", "good", "l", "m")


def _sparse(*options: str) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        root = _tree(folder, {"after": b"after"})
        with (root / "disk.img").open("wb") as image:
            image.write(b"start")
            image.seek(300_000)
            image.write(b"end")
            image.truncate(305_000)
        return _run(root, "tar", "-cS", *options, "-f", "-", "disk.img", "after")

    return make


def _sparse_in_many_parts(folder: Path) -> bytes:
    """More holes than a header has room for."""
    root = _tree(folder, {})
    root.mkdir()
    with (root / "db").open("wb") as image:
        for number in range(60):
            image.seek(number * 65536)
            image.write(b"%04d" % number)
    return _run(root, "tar", "-cS", "--format=gnu", "-f", "-", "db")


IN_MANY_PARTS = b"".join(b"%04d" % number + bytes(65532) for number in range(60))[: 59 * 65536 + 4]


def _debian_package(folder: Path) -> bytes:
    """Shaped like linux-libc-dev and ncurses-term: names that differ in case only, in folders and files."""
    root = _tree(folder, {"usr/include/linux/netfilter/xt_DSCP.h": b"1", "usr/include/linux/netfilter/xt_dscp.h": b"2"})
    for name, content in {"E/Eterm": b"3", "e/eterm": b"4"}.items():
        _tree(folder, {f"usr/share/terminfo/{name}": content})
    control = root / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text("Package: twins\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: twins\n")
    _run(folder, "dpkg-deb", "--root-owner-group", "-b", "tree", "twins.deb")
    return _run(folder, "dpkg-deb", "--fsys-tarfile", "twins.deb")


DEBIAN: dict[str, bytes | str] = {
    "usr/include/linux/netfilter/xt_DSCP.h": b"1",
    "usr/include/linux/netfilter/xt_dscp.h": b"2",
    "usr/share/terminfo/E/Eterm": b"3",
    "usr/share/terminfo/e/eterm": b"4",
}


def _electron(folder: Path) -> bytes:
    """As `electron-builder` packs it: chrome-sandbox is setuid."""
    root = _tree(folder, {"app/chrome-sandbox": b"elf", "app/resources/app.asar": b"asar", "app/electron": b"elf"})
    (root / "app/electron").chmod(0o755)
    (root / "app/chrome-sandbox").chmod(0o4755)
    return _run(root, "tar", "-cJf", "-", "app")


def _without_rights(folder: Path) -> bytes:
    return tar(header("d", kind=b"5", mode=0), file("d/secret", b"1", mode=0))


def _git_archive(folder: Path) -> bytes:
    root = _tree(folder, {"app": b"1"})
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main")
    _run(root, *git, "init", "-q")
    _run(root, *git, "add", ".")
    _run(root, *git, "commit", "-q", "-m", "all")
    return _run(root, *git, "archive", "--format=tar.gz", "HEAD")


def _labelled(folder: Path) -> bytes:
    return _run(_tree(folder, {"app": b"1"}), "tar", "-cf", "-", "--label=release 1", "app")


def _incremental(folder: Path) -> bytes:
    return _run(_tree(folder, {"d/app": b"1"}), "tar", "-cf", "-", "--listed-incremental=../snapshot", "d")


def _with_attributes(folder: Path) -> bytes:
    return _run(
        _tree(folder, {"app": b"1"}),
        *(
            "tar",
            "--format=posix",
            "-cf",
            "-",
            "--pax-option=SCHILY.xattr.user.a:=b,SCHILY.acl.access:=user::rwx",
            "app",
        ),
    )


def _zip(*options: str, names: tuple[str, ...] = (".",)) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        root = _tree(folder, {"bin/app": b"app" * 100, "empty": b""})
        (root / "bin/link").symlink_to("app")
        _run(root, "zip", "-q", "-r", *options, "../p.zip", *names)
        return (folder / "p.zip").read_bytes()

    return make


ZIPPED: dict[str, bytes | str] = {"bin/app": b"app" * 100, "bin/link": "app", "empty": b""}


def _zip_stream(folder: Path) -> bytes:
    """Not seekable: sizes stand behind each member, in data descriptors."""
    return subprocess.run(
        "zip -q -r -y - . | cat",
        shell=True,
        cwd=_tree(folder, {"bin/app": b"app" * 100}),
        check=True,
        capture_output=True,
    ).stdout


def method_zip(method: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("app", b"app" * 30_000)
    return out.getvalue()


def _zip64(folder: Path) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, archive.open("app", "w", force_zip64=True) as member:
        member.write(b"app")
    return out.getvalue()


def _repeated_zip() -> bytes:
    local, entry = zip_entry(b"a", b"old")
    local2, entry2 = zip_entry(b"a", b"new", offset=len(local))
    return zip_of(local + local2, [entry, entry2])


def _zip_in_two_orders() -> bytes:
    local, entry = zip_entry(b"a", b"old")
    local2, entry2 = zip_entry(b"a", b"new", offset=len(local))
    return zip_of(local + local2, [entry2, entry])


def unicode_path(name: bytes, text: str, *, crc: int | None = None) -> bytes:
    """Extra field 0x7075 as Info-ZIP and 7-Zip write it."""
    content = b"\1" + struct.pack("<L", zlib.crc32(name) if crc is None else crc) + text.encode()
    return struct.pack("<HH", 0x7075, len(content)) + content


def named_zip(
    *names: bytes, flags: int = 0, made_on: int = 0, extra: Callable[[bytes], bytes] = lambda name: b"", mode: int = 0
) -> bytes:
    """A zip of files with these very bytes as names, made where `made_on` says (0: Windows and DOS, 3: Unix)."""
    body, entries = b"", []
    for name in names:
        more, content = extra(name), b"content"
        common = (20, flags, 0, 0, 0x5821, zlib.crc32(content), len(content), len(content), len(name), len(more))
        tail = (0, 0, 0, mode << 16, len(body))
        entries.append(struct.pack("<4s2B5H3L5H2L", b"PK\x01\x02", 20, made_on, *common, *tail) + name + more)
        body += struct.pack("<4s5H3L2H", b"PK\x03\x04", *common) + name + more + content
    return zip_of(body, entries)


def gbk_zip(*names: str, **more: Any) -> bytes:
    return named_zip(*(name.encode("gbk") for name in names), **more)


def _of(*names: str) -> dict[str, bytes | str]:
    return dict.fromkeys(names, b"content")


def sparse_pax_0_0() -> bytes:
    parts = [(b"offset", b"0"), (b"numbytes", b"5"), (b"offset", b"300000"), (b"numbytes", b"3")]
    records = [(b"size", b"305000"), (b"numblocks", b"2"), *parts]
    return extended(b"".join(record(b"GNU.sparse." + key, value) for key, value in records)) + header(
        "disk.img", size=8
    )


# As GNU tar writes them.
SPARSE_1_0 = tar(
    pax(
        **{
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": "disk.img",
            "GNU.sparse.realsize": "5000",
        }
    )
    + header("GNUSparseFile.1/disk.img", size=520)
    + padded(b"2\n0\n5\n3000\n3\n")
    + padded(b"startend")
)


def _sparse_gnu() -> bytes:
    block = bytearray(header("disk.img", kind=b"S", size=8, magic=b"ustar  \0"))
    block[386:434] = b"%011o\0%011o\0%011o\0%011o\0" % (0, 5, 3000, 3)
    block[483:495] = b"%011o\0" % 5000
    block[148:156] = b"%06o\0 " % sum(bytes(block[:148]) + b" " * 8 + bytes(block[156:]))
    return tar(bytes(block) + padded(b"startend"))


SPARSE_GNU = _sparse_gnu()


def _signed_checksum() -> bytes:
    block = bytearray(header("é", size=1))
    counted = bytes(block[:148]) + b" " * 8 + bytes(block[156:])
    signed = sum(byte - 256 if byte > 127 else byte for byte in counted)
    block[148:156] = b"%06o\0 " % signed
    return bytes(block) + padded(b"1") + END


def _small_tar(**more: Any) -> bytes:
    return tar(file("app", b"1"), **more)


TARS = {
    "names that differ in case only": _as(
        {"README": b"1", "readme": b"2"}, tar(file("README", b"1"), file("readme", b"2"))
    ),
    "folders that differ in case only": _as(
        {"Lib/a": b"1", "lib/b": b"2"}, tar(file("Lib/a", b"1"), file("lib/b", b"2"))
    ),
    "case twins beyond ASCII": _as({"STRASSE": b"1", "straße": b"2"}, tar(file("STRASSE", b"1"), file("straße", b"2"))),
    "a name composed and decomposed": _as(
        {"caf\u00e9": b"1", "cafe\u0301": b"2"}, tar(file("caf\u00e9", b"1"), file("cafe\u0301", b"2"))
    ),
    "a Debian package's data.tar with case twins": _as(DEBIAN, _debian_package),
    "macOS `Icon\\r`": _as({"Icon\r": b"i", "d\r/x": b"x"}, tar(file("Icon\r", b"i"), file("d\r/x", b"x"))),
    "a tab in a name": _as({"a\tb": b"1"}, tar(file("a\tb", b"1"))),
    "a CR inside a name": _unsafe(tar(file("evil\rgood")), "'evil\\rgood' has U+000D"),
    "a newline in a name": _unsafe(tar(file("a\nb")), "'a\\nb' has U+000A"),
    "an escape sequence in a name": _unsafe(tar(file("a\x1b[31m")), "'a\\x1b[31m' has U+001B"),
    "a character that reorders text": _unsafe(tar(file("cod\u202egpj.exe")), "'cod\\u202egpj.exe' has U+202E"),
    "a character that nobody sees": _unsafe(tar(file("a\u200bb")), "'a\\u200bb' has U+200B"),
    "blanks, quotes, `$(x)`, a leading dash": _as({"-rf '\"$(x)": b"1"}, tar(file("-rf '\"$(x)", b"1"))),
    "a backslash in a tar's name": _as({"a\\b": b"1"}, tar(file("a\\b", b"1"))),
    "`./` in front, `//` and `/./` inside": _as({"a/b": b"1"}, tar(folder("./"), file("./a//./b", b"1"))),
    "Chinese names": _as({CHINESE: b"1"}, tar(file(CHINESE, b"1"))),
    "a name that is not UTF-8": _refused(tar(file(b"caf\xe9")), "'caf\\xe9' is not UTF-8"),
    "an empty name": _refused(tar(file("")), "without a name"),
    "a part of more than 255 bytes": _refused(tar(pax(path="x" * 256) + GOOD), "longer than 255 bytes"),
    "a path of more than 1024 bytes": _refused(
        tar(pax(path="/".join(["x" * 100] * 11)) + GOOD), "longer than 1024 bytes"
    ),
    "an absolute name": _unsafe(tar(file("/etc/cron.d/x")), "'/etc/cron.d/x' is absolute"),
    "`..` that leads out": _unsafe(tar(file("a/../../x")), "'a/../../x' has a part .."),
    "`..` that stays inside": _unsafe(tar(file("a/../x")), "'a/../x'"),
    "`.release.json` at the top": _refused(tar(GOOD, file(".release.json")), "'.release.json' is reserved"),
    "`.Release.json`, `d/.release.json`": _as(
        {".Release.json": b"1", "d/.release.json": b"2"},
        tar(file(".Release.json", b"1"), file("d/.release.json", b"2")),
    ),
    "a file in the root's place": _refused(tar(file(".")), "'.' is the release's own folder"),
    "Electron's setuid chrome-sandbox": _as(
        {"app/chrome-sandbox": b"elf", "app/resources/app.asar": b"asar", "app/electron": b"elf"},
        _electron,
        "setgid and sticky bits of 1 member ('app/chrome-sandbox')",
    ),
    "a setgid file": _taken(tar(file("sg", b"1", mode=0o2755)), "of 1 member ('sg')", sg=b"1"),
    "setgid and sticky folders": _as(
        {"d/a": b"1", "t/b": b"2"},
        tar(folder("d", mode=0o2775), file("d/a", b"1"), folder("t", mode=0o1777), file("t/b", b"2")),
        "of 2 members ('d', 't')",
    ),
    "files and folders of mode 0000": _as({"d/secret": b"1"}, _without_rights),
    "a character device": _unsafe(tar(GOOD, header("dev/null", kind=b"3")), "'dev/null' is a character device"),
    "a block device": _unsafe(tar(GOOD, header("dev/sda", kind=b"4")), "'dev/sda' is a block device"),
    "a fifo": _unsafe(tar(GOOD, header("pipe", kind=b"6")), "'pipe' is a fifo"),
    "a contiguous file (type 7)": _taken(tar(file("app", b"1", kind=b"7")), app=b"1"),
    "a file with a folder's name": _as({"d/a": b"1"}, tar(header("d/"), file("d/a", b"1"))),
    "a folder with content": _refused(
        tar(GOOD, header("d", kind=b"5", size=512) + bytes(512)), "'d' is a folder and yet"
    ),
    "a symbolic link with content": _refused(
        tar(GOOD, header("l", kind=b"2", size=512, target="good") + bytes(512)), "'l' is a symbolic link and yet"
    ),
    "a type nobody knows": _refused(tar(GOOD, header("what", kind=b"Z")), "'what' is of the unknown type"),
    "a volume label (`tar --label`)": _taken(_labelled, app=b"1"),
    "an incremental dump (`tar -g`)": _as({"d/app": b"1"}, _incremental),
    "a part of a multi-volume archive": _refused(tar(header("rest", kind=b"M")), "'rest' is of the unknown type"),
    "a file twice": _taken(
        tar(file("a", b"old"), GOOD, file("./a", b"new!")),
        "last of each counts: 1 member ('a')",
        a=b"new!",
        good=b"good",
    ),
    "a folder twice": _as({"d/a": b"1"}, tar(folder("d"), file("d/a", b"1"), folder("d/"))),
    "a symbolic link twice": _taken(
        tar(GOOD, symlink("l", "nowhere"), symlink("l", "good")), "1 member ('l')", good=b"good", l="good"
    ),
    "`find . | tar -T -`": _as({"lib/a": b"1", "lib/deep/b": b"2"}, _found_and_packed),
    "hard links, named twice": _taken(_hard_linked_and_repeated, a=b"1", b=b"1"),
    "`tar -r`: a newer file appended": _taken(_appended, "1 member ('a')", a=b"new", b=b"b"),
    "a hard link between two files of one name": _taken(
        tar(file("a", b"old"), hard_link("h", "a"), file("a", b"new")), "1 member ('a')", a=b"new", h=b"old"
    ),
    "a file that becomes a folder": _refused(
        tar(GOOD, file("d"), folder("d")), "'d' is in the archive twice, as a file"
    ),
    "a file below a file": _refused(tar(GOOD, file("good/x")), "'good/x' lies below 'good', which is a file"),
    "a folder that becomes a link": _unsafe(
        tar(GOOD, folder("d"), symlink("d", "good")), "'d' is in the archive twice"
    ),
    "a file that becomes a link": _unsafe(tar(GOOD, file("l"), symlink("l", "good")), "'l' is in the archive twice"),
    "a file written through a link": _unsafe(tar(folder("d"), symlink("l", "d"), file("l/x")), "'l/x' lies below 'l'"),
    "hard links": _taken(tar(file("a", b"1"), hard_link("h", "./a")), a=b"1", h=b"1"),
    "a hard link with its file's size": _taken(
        tar(file("a", b"1"), header("h", kind=b"1", target="a", size=1)), a=b"1", h=b"1"
    ),
    "a hard link to a symbolic link": _taken(_hard_linked_symlinks, good=b"good", l="good", m="good"),
    "a hard link to a later file": _refused(
        tar(hard_link("h", "good"), GOOD), "'h' points to 'good', which is no earlier"
    ),
    "a hard link to nothing": _refused(tar(GOOD, hard_link("h", "missing")), "'h' points to 'missing'"),
    "a hard link to a folder": _refused(tar(GOOD, folder("d"), hard_link("h", "d")), "'h' points to 'd'"),
    "a hard link out": _unsafe(tar(GOOD, hard_link("h", "../x")), "'../x' has a part .."),
    "links that stay inside, or lead nowhere there": _as(
        {"d/a": b"1", "l": "d/a", "d/up": "../l", "x": "missing/y"},
        tar(file("d/a", b"1"), symlink("l", "d/a"), symlink("d/up", "../l"), symlink("x", "missing/y")),
    ),
    "an absolute link": _unsafe(tar(GOOD, symlink("l", "/etc/passwd")), "'l' has an absolute target"),
    "a link that leads out": _unsafe(tar(GOOD, symlink("l", "../x")), "'l' to '../x' leads out"),
    "an empty link": _refused(tar(GOOD, symlink("l", "")), "'l' has an empty target"),
    "links in a circle": _refused(tar(GOOD, symlink("a", "b"), symlink("b", "a")), "goes round in circles"),
    "a sparse file, GNU's own form": _as({"disk.img": HOLES, "after": b"after"}, _sparse("--format=gnu")),
    "a sparse file, GNU's form, of many parts": _taken(_sparse_in_many_parts, db=IN_MANY_PARTS),
    "a sparse file, pax 0.0": _as({"disk.img": HOLES}, tar(sparse_pax_0_0(), padded(b"startend"))),
    "a sparse file, pax 0.1": _as(
        {"disk.img": HOLES, "after": b"after"}, _sparse("--format=posix", "--sparse-version=0.1")
    ),
    "a sparse file, pax 1.0": _as(
        {"disk.img": HOLES, "after": b"after"}, _sparse("--format=posix", "--sparse-version=1.0")
    ),
    "a sparse file whose map lies": _refused(
        tar(sparse_pax_0_0().replace(b"=300000", b"=000001"), padded(b"startend")), "map of a sparse file"
    ),
    "v7, no magic": _taken(tar(file("app", b"1", magic=b"")), app=b"1"),
    "ustar with a prefix": _as({"long/app": b"1"}, tar(file("app", b"1", prefix=b"long"))),
    "GNU long names": _as({"x" * 150: b"1"}, tar(extended(b"x" * 150 + b"\0", b"L") + file("short", b"1"))),
    "pax long names": _as({"x" * 150: b"1"}, tar(pax(path="x" * 150) + file("short", b"1"))),
    "pax with attributes and ACLs": _taken(_with_attributes, app=b"1"),
    "Solaris' pax (type X)": _taken(tar(extended(record(b"path", b"app"), b"X") + file("short", b"1")), app=b"1"),
    "`git archive`, its commit in a global header": _taken(_git_archive, app=b"1"),
    "a global header that renames all": _unsafe(
        tar(extended(record(b"path", b"x"), b"g") + GOOD), "global header sets 'path'"
    ),
    "times before 1970 and beyond 2107": _taken(
        tar(pax(mtime="-5.5") + file("a", b"1"), pax(mtime="99999999999.5") + file("b", b"2")), a=b"1", b=b"2"
    ),
    "checksums of signed bytes": _as({"é": b"1"}, _signed_checksum()),
    "no mark of the end": _refused(tar(GOOD)[: -len(END)], "cut short"),
    "one zero block as the end": _taken(GOOD + bytes(512), good=b"good"),
    "zeros behind the end": _taken(PLAIN + bytes(20 * 512), app=b"content" * 1000),
    "garbage behind the end": _refused(PLAIN + b"garbage", "followed by bytes that are not part of it"),
    "a second tar behind the first": _refused(PLAIN + PLAIN, "followed by bytes that are not part of it"),
}

COMPRESSED = {
    "tar.gz, tar.bz2, tar.xz": _taken(gzip.compress(PLAIN), app=b"content" * 1000),
    "gzip in several streams": _taken(gzip.compress(PLAIN[:700]) + gzip.compress(PLAIN[700:]), app=b"content" * 1000),
    "bzip2 in several streams (pbzip2)": _taken(
        bz2.compress(PLAIN[:700]) + bz2.compress(PLAIN[700:]), app=b"content" * 1000
    ),
    "zeros behind the gzip": _taken(gzip.compress(PLAIN) + bytes(1000), app=b"content" * 1000),
    "zeros behind the xz (stream padding)": _taken(lzma.compress(PLAIN) + bytes(8), app=b"content" * 1000),
    "a newline behind the gzip": _refused(
        gzip.compress(PLAIN) + b"\n", "follow the end of the archive's gzip data: '\\n'"
    ),
    "garbage behind the gzip": _refused(gzip.compress(PLAIN) + b"garbage!!", "gzip data: 'garbage!' and more"),
    "garbage behind the bzip2": _refused(bz2.compress(PLAIN) + b"garbage", "bzip2 data: 'garbage'"),
    "a gzip cut short": _refused(gzip.compress(PLAIN)[:-20], "cut short"),
    "a gzip with a wrong checksum": _refused(gzip.compress(PLAIN)[:-8] + bytes(8), "gzip data is damaged"),
    "zstd": _refused(b"\x28\xb5\x2f\xfd" + bytes(600), "it is compressed with zstd"),
    "lz4": _refused(b"\x04\x22\x4d\x18" + bytes(600), "it is compressed with lz4"),
    "compress (.Z)": _refused(b"\x1f\x9d\x90" + bytes(600), "it is compressed with compress (.Z)"),
    ".tar.lzma": _refused(lzma.compress(PLAIN, lzma.FORMAT_ALONE), "it is compressed with lzma"),
    "7z": _refused(b"7z\xbc\xaf\x27\x1c" + bytes(600), "it is a 7z archive"),
    "RAR": _refused(b"Rar!\x1a\x07\x01\0" + bytes(600), "it is a RAR archive"),
    "a whole .deb": _refused(b"!<arch>\ndebian-binary   " + bytes(600), "it is a Debian package"),
    "an RPM": _refused(b"\xed\xab\xee\xdb" + bytes(600), "it is an RPM package"),
    "cpio": _refused(b"070701" + b"0" * 600, "it is a cpio archive"),
    "a login page": _refused(b"\r\n<!DOCTYPE html><html>Sign in</html>" * 20, "it is a web page"),
    "an XML error of an object store": _refused(b"<?xml version='1.0'?><Error/>", "it is a text"),
    "an empty file": _refused(b"", "it is empty"),
    "an archive of folders alone": _refused(tar(folder("a"), folder("a/b")), "holds no file"),
}

ZIPS = {
    "`zip -r -y`": _as(ZIPPED, _zip("-y")),
    "`zip -r -y` of names, no folders (`-D`)": _as(ZIPPED, _zip("-y", "-D")),
    "a zip that was streamed (data descriptors)": _as({"bin/app": b"app" * 100}, _zip_stream),
    "zip64": _taken(_zip64, app=b"app"),
    "bzip2 in a zip": _taken(method_zip(zipfile.ZIP_BZIP2), app=b"app" * 30_000),
    "LZMA in a zip": _taken(method_zip(zipfile.ZIP_LZMA), app=b"app" * 30_000),
    "Deflate64 in a zip (Windows, beyond 2 GiB)": _refused(
        method_zip(zipfile.ZIP_STORED).replace(b"\x14\0\0\0\0\0", b"\x14\0\0\0\x09\0"),
        "'app' is compressed by Deflate64",
    ),
    "zstd in a zip": _refused(
        method_zip(zipfile.ZIP_STORED).replace(b"\x14\0\0\0\0\0", b"\x14\0\0\0\x5d\0"), "'app' is compressed by zstd"
    ),
    "an encrypted zip": _refused(_zip("-P", "secret", names=("bin/app",)), "'bin/app' is encrypted"),
    "a zip of several parts": _refused(b"PK\x07\x08" + made_zip({"app": b"1"}), "one part of a zip"),
    "a zip with a comment": _taken(
        zip_of(*(lambda pair: (pair[0], [pair[1]]))(zip_entry(b"a", b"1")), comment=b"hello"), a=b"1"
    ),
    "an empty zip": _refused(zip_of(b"", []), "holds no file"),
    "garbage behind a zip": _refused(made_zip({"app": b"1"}) + b"garbage", "something follows it"),
    "a zip cut short": _refused(made_zip({"app": b"1"})[:-30], "cut short"),
    "something before a zip (self-extracting)": _refused(b"#!/bin/sh\n" + made_zip({"app": b"1"}), "it is a script"),
    "a file twice in a zip": _taken(_repeated_zip(), "1 member ('a')", a=b"new"),
    "a file twice, in two orders": _refused(_zip_in_two_orders(), "'a' is in the archive twice, in another order"),
    "case twins in a zip": _taken(made_zip({"A": b"1", "a": b"2"}), A=b"1", a=b"2"),
    "setuid in a zip": _taken(made_zip({"su": b"1"}, su=0o104755), "of 1 member ('su')", su=b"1"),
    "a fifo in a zip": _unsafe(made_zip({"good": b"1", "f": b""}, f=stat.S_IFIFO | 0o644), "'f' is a device, a fifo"),
    "`..` in a zip": _unsafe(made_zip({"../x": b"1"}), "'../x' has a part .."),
    "backslashes from Windows (.NET, PowerShell)": _as(_of("bin/app", "top"), named_zip(b"bin\\app", b"top")),
    "`..\\` from Windows": _unsafe(named_zip(b"..\\x"), "'../x' has a part .."),
    "a backslash in a Unix zip's name": _unsafe(named_zip(b"a\\b", made_on=3), "'a\\\\b' has a backslash"),
    "UTF-8 names, marked (bit 11)": _as(_of(CHINESE), named_zip(CHINESE.encode(), flags=0x800)),
    "UTF-8 names, not marked (macOS)": _as(_of(CHINESE), named_zip(CHINESE.encode(), made_on=3)),
    "GBK names with the right ones in 0x7075": _as(
        _of(CHINESE), gbk_zip(CHINESE, extra=lambda name: unicode_path(name, CHINESE))
    ),
    "0x7075 of another name, GBK": _refused(
        gbk_zip(CHINESE, extra=lambda name: unicode_path(name, "other", crc=1)),
        "'\\xb2\\xe2\\xca\\xd4/\\xcb\\xb5\\xc3\\xf7.txt' is not UTF-8",
    ),
    "GBK names, the service says nothing": _refused(gbk_zip("测试"), "'\\xb2\\xe2\\xca\\xd4' is not UTF-8"),
    "GBK names, the service says gbk": _as(
        _of(CHINESE), gbk_zip(CHINESE), "names of 1 member ('测试/说明.txt')", "gbk"
    ),
    "GBK names, one of which is UTF-8 by chance": _as(
        _of("一/测试", "一/a"), gbk_zip("一/测试", "一/a"), "names of 2 members", "gbk"
    ),
    "names that UTF-8 and GBK both read, gbk": _refused(
        gbk_zip("一.txt"), "'һ.txt', if it is UTF-8, is '一.txt' in GBK", zip_names="gbk"
    ),
    "a GBK name whose last byte is a backslash's": _as(
        _of(BACKSLASH_IN_GBK), gbk_zip(BACKSLASH_IN_GBK), "names of 1 member", "gbk"
    ),
    "UTF-8 names, the service says gbk": _as(_of(CHINESE), named_zip(CHINESE.encode()), "", "gbk"),
    "names that are neither, gbk": _refused(
        named_zip(b"a\xff\xffb"), "'a\\xff\\xffb' is neither UTF-8 nor GBK", zip_names="gbk"
    ),
    "cp437 names (é), the service says nothing": _refused(named_zip(b"caf\x82"), "'caf\\x82' is not UTF-8"),
}

CASES = {**TARS, **COMPRESSED, **ZIPS}
