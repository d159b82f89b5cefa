"""The child process: sets its own limits, repacks, and says on stdout how it went, as one line of JSON.

Started by `deploys.packages.repack_process` with the package as stdin, the descriptors of artifact and manifest and the
limits as arguments, and a folder for temporary files as working directory. It opens nothing else.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import resource
import signal
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict

from deploys.packages.archive.refusals import TOO_LARGE, Limits, Refused
from deploys.packages.archive.repack import repack
from inventory.told import Told, to_json
from inventory.told import marked as gettext_noop

# What Refused calls advice: raising RELEASE_PACKAGE_MAX_BYTES, the common one, would change nothing here.
_SMALLER = Told(gettext_noop("Make the package smaller, and deploy that."))
# Not a target's error code: trouble of this host's, of which the parent makes its own error. With an `errno`.
HOST_TROUBLE = "host_trouble"
# Above the limits that are the package's, so that the reader is still there to say which one it has met.
_CPU_GRACE_SECONDS = 10
_MEMORY_GRACE_BYTES = 64 * 1024**2
# The parent sees to the deadline; this is for one that was stopped itself.
_DEADLINE_GRACE_SECONDS = 60


def main(artifact_descriptor: str, manifest_descriptor: str, limits_json: str, zip_names: str, parent_pid: str) -> None:
    """manifest_descriptor: '' for none."""
    limits = Limits(**json.loads(limits_json))
    _watch(int(parent_pid), time.monotonic() + limits.wall_seconds + _DEADLINE_GRACE_SECONDS)
    _set_limits(limits)
    print(json.dumps(_answer(int(artifact_descriptor), manifest_descriptor, limits, zip_names)))


def _answer(artifact_descriptor: int, manifest_descriptor: str, limits: Limits, zip_names: str) -> dict[str, object]:
    notes: list[Told] = []
    try:
        # Closing the artifact writes what is left of it, and so may fail as any write.
        with (
            open(0, "rb", closefd=False) as package,
            open(artifact_descriptor, "wb") as artifact,
            open(int(manifest_descriptor), "wb") if manifest_descriptor else nullcontext() as manifest,
        ):
            repacked = repack(package, artifact, limits, zip_names=zip_names, manifest=manifest, on_note=notes.append)
        return {"repacked": asdict(repacked), "notes": to_json(notes) or []}
    except Refused as refused:
        return _refusal(refused)
    except MemoryError:
        if not _has_host_memory():
            return _host_trouble(errno.ENOMEM)
        text = gettext_noop("the archive takes more than %(bytes)s bytes of memory to read")
        advice = gettext_noop("Pack fewer files, or compress it with a smaller dictionary (xz -6), and deploy that.")
        return _refusal(Refused(TOO_LARGE, Told(text, {"bytes": limits.memory_bytes}), Told(advice)))
    except OSError as error:
        if error.errno is None:
            raise
        return _host_trouble(error.errno)


def _refusal(refused: Refused) -> dict[str, object]:
    return {
        "code": refused.code,
        "told": to_json([refused.told]),
        "advice": to_json([refused.advice]) if refused.advice else [],
    }


def _host_trouble(number: int) -> dict[str, object]:
    return {"code": HOST_TROUBLE, "errno": number, "message": os.strerror(number)}


def _has_host_memory() -> bool:
    """Whether it was our limit that was met: with a higher one there is more."""
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        mmap.mmap(-1, _MEMORY_GRACE_BYTES // 2).close()
    except (MemoryError, OSError):
        return False
    return True


def _set_limits(limits: Limits) -> None:
    def refuse(*_: object) -> None:
        raise Refused(
            TOO_LARGE,
            Told(
                gettext_noop("the archive takes more than %(cpu_seconds)s seconds of processor time to read"),
                {"cpu_seconds": limits.cpu_seconds},
            ),
            _SMALLER,
        )

    signal.signal(signal.SIGXCPU, refuse)
    # The artifact and a spooled member are each smaller than all that may be extracted; the rest is headers.
    file_bytes = limits.extracted_bytes + limits.entries * 2048
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, limits.memory_bytes, grace=_MEMORY_GRACE_BYTES)
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds, grace=_CPU_GRACE_SECONDS)
    _limit(resource.RLIMIT_FSIZE, file_bytes)


def _limit(which: int, value: int, *, grace: int = 0) -> None:
    """Where the host's own limit is lower, that one stays: whoever meets it has met the host's."""
    _, highest = resource.getrlimit(which)
    if highest == resource.RLIM_INFINITY:
        highest = value + grace
    resource.setrlimit(which, (min(value, highest), min(value + grace, highest)))


def _watch(parent_pid: int, deadline: float) -> None:
    """End with the parent, however it ends, and at the deadline."""

    def check(*_: object) -> None:
        if os.getppid() != parent_pid or time.monotonic() > deadline:
            os._exit(1)

    signal.signal(signal.SIGALRM, check)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
