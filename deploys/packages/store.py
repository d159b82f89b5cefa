"""Artifacts on this host's disk, by the SHA-256 of the package each was made of.

`<folder>/<first 2>/<sha256>.tar.gz`, its manifest (`archive.manifest`) as `.manifest`, and `.json` beside it, which says
what it is and is written last: an artifact without it is not there. Parts of it (`deploys.packages.parts`) lie there too. What
is being written lies in `tmp/`, locked by its writer; the lock goes with the process, so what nobody locks was left behind
by one that died. Any number of processes share the folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from filelock import FileLock

from deploys.error_codes import ErrorCode
from deploys.packages.archive.repack import Repacked
from deploys.packages.errors import PackageError
from inventory.told import Told
from inventory.told import marked as _

# What a failed call on this host comes from, and what to do about it. {folder}: the store's.
_NO_ROOM = _("The package store %(folder)s has no room left (%(said)s). Free space on this worker's disk, then retry.")
_NO_RIGHTS = _(
    "This worker's account may not use the package store %(folder)s (%(said)s). Give the folder to that account, then retry."
)
_TOO_MANY_FILES = _("This worker has too many files open (%(said)s). Raise its limit (LimitNOFILE), then retry.")
_OWN_TROUBLE = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EROFS: _(
        "The package store %(folder)s is on a read-only file system (%(said)s). Mount it writable, then retry."
    ),
    errno.EACCES: _NO_RIGHTS,
    errno.EPERM: _NO_RIGHTS,
    errno.EMFILE: _TOO_MANY_FILES,
    errno.ENFILE: _TOO_MANY_FILES,
    errno.ENOMEM: _(
        "This worker's host has no memory left (%(said)s). Give it more, or lower RELEASE_WORKERS, then retry."
    ),
    errno.EAGAIN: _(
        "This worker may start no further process (%(said)s). Raise its limit (TasksMax, LimitNPROC), then retry."
    ),
    errno.EIO: _(
        "The disk of the package store %(folder)s can't be read or written (%(said)s). Look at that disk, then retry."
    ),
}
_OTHER_TROUBLE = _(
    "The package store %(folder)s can't be used (%(said)s). See to that folder on this worker's host, then retry."
)
# An artifact may be younger than the row that will say it is needed.
GRACE_SECONDS = 3600.0
# A rollout may take its time; and it may be started again.
PART_IDLE_SECONDS = 24 * 3600.0
_PART = "{}.from.{}"
_DRAFT_PREFIX = "draft-"
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A package as it goes to the nodes.

    sha256, size_bytes: of the package as downloaded. path, artifact_sha256, artifact_bytes: of what is sent.
    names_read_as, unpacked_bytes: see `Repacked`; 0 bytes for what an earlier version has stored.
    """

    sha256: str
    size_bytes: int
    path: Path
    artifact_sha256: str
    artifact_bytes: int
    unpacked_bytes: int = 0
    names_read_as: str = ""

    def suits(self, zip_names: str) -> bool:
        """Whether a service with these `zip_names` would get the same of the package."""
        return self.names_read_as in ("", zip_names)


@dataclass(frozen=True, kw_only=True)
class _Record:
    """The `.json` beside an artifact."""

    size_bytes: int
    artifact_sha256: str
    artifact_bytes: int
    unpacked_bytes: int = 0
    names_read_as: str = ""

    @classmethod
    def read(cls, path: Path) -> _Record:
        """Raises OSError, ValueError or TypeError. Other versions note more, or less."""
        noted = json.loads(path.read_bytes())
        return cls(**{field.name: noted[field.name] for field in fields(cls) if field.name in noted})


class PackageStore:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary_folder = folder / "tmp"

    @classmethod
    def of_this_host(cls) -> PackageStore:
        return cls(Path(settings.DATA_DIR) / "packages")

    def stored(self, sha256: str) -> Artifact | None:
        """The artifact, if it is complete by its size, which counts as a use of it.

        Nobody reads gigabytes to look for bytes that went bad on the disk: a node finds out, then `discard_if_damaged`.
        """
        if len(sha256) != 64 or not _HEX.issuperset(sha256):
            return None
        path, record_path = self._paths(sha256)
        try:
            record = _Record.read(record_path)
            if path.stat().st_size != record.artifact_bytes:
                return None
            os.utime(record_path)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Artifact(sha256=sha256, path=path, **asdict(record))

    @contextmanager
    def room(self) -> Iterator[None]:
        """The folders are there and leftovers are not. Raises what `own_trouble` raises."""
        with self.own_trouble():
            self._make_folders()
            self._sweep()
            yield

    @contextmanager
    def own_trouble(self) -> Iterator[None]:
        """A failed call on this host becomes a `PackageError` that says what to do: `internal_error`, never a verdict."""
        try:
            yield
        except OSError as error:
            text = _OWN_TROUBLE.get(error.errno or 0, _OTHER_TROUBLE)
            where = f", {error.filename}" if error.filename else ""
            facts = {"folder": str(self.folder), "said": f"{error.strerror or error}{where}"}
            raise PackageError(ErrorCode.INTERNAL_ERROR, Told(text, facts)) from error

    def lock_file(self, name: str) -> Path:
        """Where processes of this host may lock something to do with packages. Raises OSError."""
        self._make_folders()
        folder = self.folder / "locks"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{name}.lock"

    @contextmanager
    def temporary(self) -> Iterator[BinaryIO]:
        """A file with no name, for the package: it is gone when closed, however the process ends."""
        with tempfile.TemporaryFile(dir=self.temporary_folder) as file:
            try:
                yield file
            finally:
                # What is still in the buffer would be written by close(), which fails once more on a full disk.
                with suppress(OSError):
                    file.flush()

    @contextmanager
    def draft(self) -> Iterator[tuple[BinaryIO, Path]]:
        """A locked file for an artifact on its way; `publish` gives it its name, else it is removed."""
        path = self.temporary_folder / f"{_DRAFT_PREFIX}{uuid.uuid4().hex}"
        # Locking makes the file, and makes it anew if another process sweeps it away meanwhile.
        with FileLock(path, mode=0o600), path.open("wb") as file:
            try:
                yield file, path
            finally:
                path.unlink(missing_ok=True)

    def publish(
        self, draft: Path, *, sha256: str, size_bytes: int, repacked: Repacked, manifest: Path | None = None
    ) -> Artifact:
        """Of several processes with the same package, the first one's artifact is kept by all. manifest: a draft too."""
        path, record_path = self._paths(sha256)
        record = _Record(size_bytes=size_bytes, **asdict(repacked))
        with self._lock():
            existing = self.stored(sha256)
            if existing is not None:
                return existing
            path.parent.mkdir(mode=0o700, exist_ok=True)
            sync(draft)
            if manifest is not None:
                os.replace(manifest, self.manifest_path(sha256))
            os.replace(draft, path)
            self.write_record(record_path, asdict(record))
            sync(path.parent)
        return Artifact(sha256=sha256, path=path, **asdict(record))

    def discard_if_damaged(self, artifact: Artifact) -> bool:
        """Read an artifact that a node could not use, and forget it if it has other bytes than were packed.

        Raises what `own_trouble` raises.
        """
        with self.own_trouble():
            return self._discard_if_damaged(artifact)

    def _discard_if_damaged(self, artifact: Artifact) -> bool:
        try:
            with artifact.path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == artifact.artifact_sha256:
                    return False
                read = os.fstat(file.fileno())
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EIO):
                raise
            read = None  # gone, or not to be read any more
        with self._lock():
            # Meanwhile another process may have put a sound one there.
            if read is None or (artifact.path.exists() and os.path.samestat(read, artifact.path.stat())):
                self._remove(artifact.sha256)
        return True

    def prune(self, keep: set[str], *, grace_seconds: float = GRACE_SECONDS) -> int:
        """Remove every artifact whose package's sha256 is not in `keep` and which nobody used of late; how many.

        Of those that stay, the parts that nobody used for PART_IDLE_SECONDS: they can be made again.
        """
        with self._lock():
            old = [sha256 for sha256 in self._known() - keep if self._idle_seconds(sha256) >= grace_seconds]
            for sha256 in old:
                self._remove(sha256)
            for record_path in self.folder.glob(f"??/{_PART.format('*', '*')}.json"):
                if time.time() - record_path.stat().st_mtime >= PART_IDLE_SECONDS:
                    record_path.unlink()
                    record_path.with_suffix(".tar.gz").unlink(missing_ok=True)
        return len(old)

    def manifest_path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / f"{sha256}.manifest"

    def part_paths(self, sha256: str, base_sha256: str) -> tuple[Path, Path]:
        """Of what goes to nodes that have the other package's release, and of its record."""
        folder, name = self.folder / sha256[:2], _PART.format(sha256, base_sha256)
        return folder / f"{name}.tar.gz", folder / f"{name}.json"

    def write_record(self, path: Path, record: Mapping[str, object]) -> None:
        """Raises OSError."""
        with self.draft() as (file, draft):
            file.write(json.dumps(record).encode())
            file.flush()
            sync(draft)
            os.replace(draft, path)

    def _paths(self, sha256: str) -> tuple[Path, Path]:
        folder = self.folder / sha256[:2]
        return folder / f"{sha256}.tar.gz", folder / f"{sha256}.json"

    def _make_folders(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.temporary_folder.mkdir(mode=0o700, exist_ok=True)

    def _sweep(self) -> None:
        """Remove what writers that died have left in tmp/."""
        for path in self.temporary_folder.glob(f"{_DRAFT_PREFIX}*"):
            with suppress(OSError), FileLock(path, blocking=False):
                path.unlink()

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One process at a time gives names and takes them away."""
        self._make_folders()
        with FileLock(self.folder / "lock"):
            yield

    def _known(self) -> set[str]:
        return {path.name.partition(".")[0] for path in self.folder.glob("??/*")}

    def _idle_seconds(self, sha256: str) -> float:
        times = [path.stat().st_mtime for path in self._paths(sha256) if path.exists()]
        return time.time() - max(times, default=0.0)

    def _remove(self, sha256: str) -> None:
        """With all that was made of it, or to go to nodes that have it."""
        path, record_path = self._paths(sha256)
        record_path.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        self.manifest_path(sha256).unlink(missing_ok=True)
        for pair in ((sha256, "*"), ("*", sha256)):
            for part in self.folder.glob(f"??/{_PART.format(*pair)}.*"):
                part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stored(sha256: str) -> Artifact | None:
    """The artifact of the package with this digest, if this host's store has it."""
    return PackageStore.of_this_host().stored(sha256)
