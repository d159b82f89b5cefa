"""Makes packages: what a scheduler's build would upload."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

TAR_MODES = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.xz": "w:xz", "tar.bz2": "w:bz2"}
WHEN = 1_700_000_000


def package(
    files: Mapping[str, str | bytes],
    *,
    kind: str = "tar.gz",
    links: Mapping[str, str] | None = None,
    executable: frozenset[str] | set[str] = frozenset(),
) -> bytes:
    """The bytes of an archive. kind: one of TAR_MODES, or zip. links: name → what it points to. Same in, same out."""
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    modes = {name: 0o755 if name in executable or name.startswith("bin/") else 0o644 for name in contents}
    if kind == "zip":
        return _zip(contents, modes, links or {})
    return _tar(contents, modes, links or {}, kind=kind)


def write_package(path: Path, files: Mapping[str, str | bytes], **options: object) -> Path:
    """The kind is told by the file's name."""
    kind = next(kind for kind in sorted((*TAR_MODES, "zip"), key=len, reverse=True) if path.name.endswith(f".{kind}"))
    path.write_bytes(package(files, kind=kind, **options))  # type: ignore[arg-type]
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tar(contents: Mapping[str, bytes], modes: Mapping[str, int], links: Mapping[str, str], *, kind: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), modes[name], WHEN
            archive.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.mtime = tarfile.SYMTYPE, target, WHEN
            archive.addfile(member)
    return _compressed(packed.getvalue(), kind)


def _compressed(content: bytes, kind: str) -> bytes:
    match TAR_MODES[kind]:
        case "w:gz":
            return gzip.compress(content, mtime=0)
        case "w:xz":
            return lzma.compress(content)
        case "w:bz2":
            return bz2.compress(content)
    return content


def _zip(contents: Mapping[str, bytes], modes: Mapping[str, int], links: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(_zip_member(name, 0o100000 | modes[name]), content)
        for name, target in links.items():
            archive.writestr(_zip_member(name, 0o120777), target)
    return packed.getvalue()


def _zip_member(name: str, mode: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, date_time=(2024, 1, 15, 10, 30, 0))
    member.compress_type = zipfile.ZIP_DEFLATED
    member.create_system = 3  # Unix: the mode is in the upper half of external_attr
    member.external_attr = mode << 16
    return member
