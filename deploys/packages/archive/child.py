"""The child process: sets its own limits, repacks, and says on stdout how it went, as one line of JSON.

Started by `deploys.packages.repack_process` with the package as stdin, the artifact's descriptor and the limits as
arguments, and a folder for temporary files as working directory. It opens nothing else.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import time
from dataclasses import asdict

from deploys.packages.archive.refusals import TOO_LARGE, Limits, Refused
from deploys.packages.archive.repack import repack

# Not a target's error code: the parent makes its own error of it.
NO_SPACE = "no_space"
_NO_SPACE_ERRORS = (errno.ENOSPC, errno.EDQUOT)


def main(artifact_descriptor: str, limits_json: str, parent_pid: str) -> None:
    limits = Limits(**json.loads(limits_json))
    _watch(int(parent_pid), time.monotonic() + limits.wall_seconds)
    _set_limits(limits)
    print(json.dumps(_answer(int(artifact_descriptor), limits)))


def _answer(artifact_descriptor: int, limits: Limits) -> dict[str, object]:
    try:
        # Closing the artifact writes what is left of it, and so may fail as any write.
        with open(0, "rb", closefd=False) as package, open(artifact_descriptor, "wb") as artifact:
            return asdict(repack(package, artifact, limits))
    except Refused as refused:
        return {"code": refused.code, "message": refused.message}
    except MemoryError:
        return {
            "code": TOO_LARGE,
            "message": f"the archive takes more than {limits.memory_bytes} bytes of memory to read",
        }
    except OSError as error:
        if error.errno in _NO_SPACE_ERRORS:
            return {"code": NO_SPACE, "message": os.strerror(error.errno)}
        raise


def _set_limits(limits: Limits) -> None:
    # The artifact and a spooled member are each smaller than all that may be extracted; the rest is headers.
    file_bytes = limits.extracted_bytes + limits.entries * 2048
    for which, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
    ):
        resource.setrlimit(which, (value, value))


def _watch(parent_pid: int, deadline: float) -> None:
    """End with the parent, however it ends, and at the deadline."""

    def check(*_: object) -> None:
        if os.getppid() != parent_pid or time.monotonic() > deadline:
            os._exit(1)

    signal.signal(signal.SIGALRM, check)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
