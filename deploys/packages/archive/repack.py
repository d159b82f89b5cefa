"""From a package's file to the artifact, in one pass, and a second one where hard links become copies."""

from __future__ import annotations

import bz2
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from deploys.packages.archive import streams
from deploys.packages.archive.members import Kind, Member, Members
from deploys.packages.archive.refusals import INVALID, Limits, Refused
from deploys.packages.archive.tar_reader import BLOCK_BYTES, is_tar_header, read_tar
from deploys.packages.archive.tree import Tree, plain_path
from deploys.packages.archive.writer import ArtifactWriter
from deploys.packages.archive.zip_reader import read_zip


@dataclass(frozen=True, kw_only=True)
class Repacked:
    artifact_sha256: str
    artifact_bytes: int


def repack(package: BinaryIO, artifact: BinaryIO, limits: Limits) -> Repacked:
    """Check all of `package` and write the artifact as it goes. Raises `Refused`; then the artifact is worthless."""
    tree = Tree(limits)
    writer = ArtifactWriter(artifact)
    for member, content in _members(package, limits):
        path, folders = tree.add(member)
        for folder in folders:
            writer.add_folder(folder, mtime=member.mtime)
        if member.kind is Kind.FILE:
            writer.add_file(path, content, size=member.size, is_executable=member.is_executable, mtime=member.mtime)
    tree.check_has_files()
    _copy_hard_links(package, tree, writer, limits)
    for path, target in tree.symlinks():
        writer.add_symlink(path, target)
    sha256, size = writer.finish()
    return Repacked(artifact_sha256=sha256, artifact_bytes=size)


def _members(package: BinaryIO, limits: Limits) -> Members:
    """The members of any kind of archive; the kind is known by its bytes, never by its name."""
    package.seek(0)
    start = package.read(BLOCK_BYTES)
    package.seek(0)
    meter = streams.Meter(limits)
    if start.startswith(b"\x1f\x8b\x08"):
        return read_tar(streams.Decompressed(package, meter, streams.GzipDecompressor), limits)
    if start.startswith(b"\xfd7zXZ\0"):
        return read_tar(streams.Decompressed(package, meter, streams.xz), limits)
    if start.startswith(b"BZh"):
        return read_tar(streams.Decompressed(package, meter, bz2.BZ2Decompressor), limits)
    if start.startswith(b"PK\x03\x04"):
        return read_zip(package, meter, limits)
    if is_tar_header(start):
        return read_tar(streams.Plain(package, meter), limits)
    raise Refused(INVALID, "it is no archive of a known kind (tar, tar.gz, tar.xz, tar.bz2, zip)")


def _copy_hard_links(package: BinaryIO, tree: Tree, writer: ArtifactWriter, limits: Limits) -> None:
    """Read the package once more for the files that hard links share, and write each copy from a file on disk."""
    copies = tree.hard_links()
    if not copies:
        return
    for member, content in _members(package, limits):
        for_paths = copies.get(plain_path(member.name)) if member.kind is Kind.FILE else None
        if for_paths:
            _write_copies(member, content, for_paths, tree, writer)


def _write_copies(
    member: Member, content: Iterator[bytes], paths: list[str], tree: Tree, writer: ArtifactWriter
) -> None:
    tree.count_copies(member.size, len(paths))
    with tempfile.TemporaryFile(dir=".") as spool:
        for piece in content:
            spool.write(piece)
        for path in paths:
            spool.seek(0)
            writer.add_file(
                path, _pieces(spool), size=member.size, is_executable=member.is_executable, mtime=member.mtime
            )


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(streams.PIECE_BYTES):
        yield piece
