"""Runs a package through the real child process, with its peak memory measured."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploys.packages import repack_process
from deploys.packages.archive.refusals import Limits
from deploys.packages.archive.repack import repack as repack_in_process

LIMITS = Limits(extracted_bytes=64 * 1024**2, cpu_seconds=60, wall_seconds=60)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """members: name → TarInfo, in the artifact's order. content: of the files. manifest: as the node reads it."""

    raw: bytes
    members: dict[str, tarfile.TarInfo]
    content: dict[str, bytes]
    manifest: list[str]


def repack(package: bytes, folder: Path, limits: Limits = LIMITS) -> Artifact:
    """Raises what `archives.repack` raises."""
    with tempfile.TemporaryFile(dir=folder) as file, tempfile.TemporaryFile(dir=folder) as out:
        file.write(package)
        file.flush()
        repacked = repack_process.repack(file, out, folder=folder, limits=limits)
        out.seek(0)
        artifact = read_artifact(out.read())
    assert repacked.artifact_bytes == len(artifact.raw)
    return artifact


def repack_here(package: bytes) -> Artifact:
    """Without the child, whose start would take most of the time. Raises `Refused`."""
    out = io.BytesIO()
    repack_in_process(io.BytesIO(package), out, LIMITS)
    return read_artifact(out.getvalue())


def read_artifact(raw: bytes) -> Artifact:
    members: dict[str, tarfile.TarInfo] = {}
    content: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(raw))) as archive:
        for info in archive:
            assert info.name not in members
            members[info.name] = info
            extracted = archive.extractfile(info) if info.isreg() else None
            if extracted:
                content[info.name] = extracted.read()
    names = content.pop("files").decode().split("\0")
    assert names.pop() == ""
    return Artifact(raw=raw, members=members, content=content, manifest=names)


def peak_memory_bytes(package: bytes, folder: Path, limits: Limits = LIMITS) -> tuple[str, int]:
    """What the child answered, and the most memory it had at once, by the kernel's count."""
    with tempfile.TemporaryFile(dir=folder) as file, tempfile.TemporaryFile(dir=folder) as out:
        file.write(package)
        file.flush()
        command = repack_process.command(out.fileno(), limits)
        # Not wait4's ru_maxrss: that starts at the memory of the process that forked.
        command[command.index("-c") + 1] += "; print(open('/proc/self/status').read())"
        child = subprocess.run(
            command, stdin=file.fileno(), capture_output=True, pass_fds=(out.fileno(),), cwd=folder, env={}, check=False
        )
    answer, _, status = child.stdout.decode().partition("\n")
    peak = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return answer, int(peak.split()[1]) * 1024
