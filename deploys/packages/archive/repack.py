"""From a package's file to the artifact: in one pass, and further ones where members repeat or share their content."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from deploys.packages.archive.foreign import foreign_kind
from deploys.packages.archive.members import Kind, Member, Members
from deploys.packages.archive.notes import Notes
from deploys.packages.archive.refusals import INVALID, Limits, Refused
from deploys.packages.archive.streams import COMPRESSIONS, PIECE_BYTES, Decompressed, Meter, Plain
from deploys.packages.archive.tar_fields import BLOCK_BYTES, is_tar_header
from deploys.packages.archive.tar_reader import read_tar
from deploys.packages.archive.tree import Tree
from deploys.packages.archive.writer import ArtifactWriter
from deploys.packages.archive.zip_names import UTF8
from deploys.packages.archive.zip_reader import read_zip
from inventory.told import Told
from inventory.told import marked as gettext_noop


@dataclass(frozen=True, kw_only=True)
class Repacked:
    """names_read_as: the encoding that names were read in because a service says so; "" when no name depends on that.

    unpacked_bytes: about what the release takes on a disk.
    """

    artifact_sha256: str
    artifact_bytes: int
    unpacked_bytes: int = 0
    names_read_as: str = ""


@dataclass(frozen=True, kw_only=True)
class _Package:
    """zip_names: what a zip's names are in where they are not UTF-8 (`zip_names.Names`)."""

    file: BinaryIO
    limits: Limits
    zip_names: str

    def members(self) -> Members:
        """The members of any kind of archive; the kind is known by its bytes, never by its name."""
        self.file.seek(0)
        start = self.file.read(BLOCK_BYTES)
        self.file.seek(0)
        meter = Meter(self.limits)
        for compression in COMPRESSIONS:
            if start.startswith(compression.magic):
                return read_tar(Decompressed(self.file, meter, compression), meter, self.limits)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return read_zip(self.file, meter, self.limits, self.zip_names)
        if is_tar_header(start):
            return read_tar(Plain(self.file, meter), meter, self.limits)
        raise Refused(
            INVALID,
            Told(
                gettext_noop("it is %(kind)s; what is taken is tar, tar.gz, tar.xz, tar.bz2 and zip"),
                {"kind": Told(foreign_kind(start))},
            ),
        )


def repack(
    package: BinaryIO,
    artifact: BinaryIO,
    limits: Limits,
    *,
    zip_names: str = UTF8,
    manifest: BinaryIO | None = None,
    on_note: Callable[[Told], None] = lambda note: None,
) -> Repacked:
    """Check all of `package` and write the artifact as it goes, and its manifest (`archive.manifest`).

    Raises `Refused`; then both are worthless.
    """
    read = _Package(file=package, limits=limits, zip_names=zip_names)
    notes = Notes()
    tree, repacked = _write(read, artifact, manifest, leave_out=(), notes=notes)
    if replaced := tree.replaced_members():
        for file in filter(None, (artifact, manifest)):
            file.seek(0)
            file.truncate()
        _, repacked = _write(read, artifact, manifest, leave_out=replaced, notes=Notes())
    for line in notes.lines(tree.replaced):
        on_note(line)
    return replace(repacked, names_read_as=zip_names) if notes.has_guessed_names else repacked


def _write(
    package: _Package, artifact: BinaryIO, manifest: BinaryIO | None, *, leave_out: Collection[int], notes: Notes
) -> tuple[Tree, Repacked]:
    """leave_out: the numbers of files that others replace."""
    tree = Tree(package.limits)
    writer = ArtifactWriter(artifact, manifest)
    for number, (member, content) in enumerate(package.members()):
        path, folders = tree.add(member)
        notes.see(member)
        for folder in folders:
            writer.add_folder(folder, mtime=member.mtime)
        if member.kind is Kind.FILE and number not in leave_out:
            writer.add_file(path, content, size=member.size, is_executable=member.is_executable, mtime=member.mtime)
    tree.check_has_files()
    _copy_hard_links(package, tree, writer)
    for path, target in tree.symlinks():
        writer.add_symlink(path, target)
    sha256, size = writer.finish()
    return tree, Repacked(artifact_sha256=sha256, artifact_bytes=size, unpacked_bytes=writer.unpacked_bytes)


def _copy_hard_links(package: _Package, tree: Tree, writer: ArtifactWriter) -> None:
    """Read the package once more for the files that hard links share, and write each copy from a file on disk."""
    copies = tree.hard_links()
    if not copies:
        return
    for number, (member, content) in enumerate(package.members()):
        if number in copies:
            _write_copies(member, content, copies[number], tree, writer)


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
    while piece := file.read(PIECE_BYTES):
        yield piece
