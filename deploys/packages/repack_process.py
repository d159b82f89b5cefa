"""Checks a downloaded package and makes the artifact of it, in a child process with limits on memory and time.

A hostile archive can at worst waste that child's allowance: it never costs this process memory, and it has no way to
name a file that would be written.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from deploys.error_codes import ErrorCode
from deploys.packages import errors
from deploys.packages.archive.child import NO_SPACE
from deploys.packages.archive.refusals import Limits
from deploys.packages.archive.repack import Repacked
from deploys.packages.errors import FetchStopped, PackageError

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_ANSWER_BYTES = 16 * 1024
_SOURCE_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from deploys.packages.archive.child import main; main(*sys.argv[1:])"


def repack(
    package: BinaryIO,
    artifact: BinaryIO,
    *,
    folder: Path,
    limits: Limits,
    should_stop: Callable[[], bool] = errors.never,
) -> Repacked:
    """Write the artifact of `package` to `artifact`; both are open files with a descriptor.

    folder: where temporary files may go. Raises `PackageError`, or `FetchStopped` soon after `should_stop()` is true.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(
            command(artifact.fileno(), limits),
            stdin=package.fileno(),
            stdout=stdout,
            stderr=stderr,
            pass_fds=(artifact.fileno(),),
            cwd=folder,
            env={"LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            _wait(child, limits, should_stop)
        finally:
            _kill(child)
        return _result(child.returncode, _text(stdout), _text(stderr))


def command(artifact_descriptor: int, limits: Limits) -> list[str]:
    """The child's command line. -I -S: nothing of the user's or of site-packages gets in."""
    arguments = [str(_SOURCE_ROOT), str(artifact_descriptor), json.dumps(asdict(limits)), str(os.getpid())]
    return [sys.executable, "-I", "-S", "-B", "-c", _PROGRAM, *arguments]


def _wait(child: subprocess.Popen[bytes], limits: Limits, should_stop: Callable[[], bool]) -> None:
    deadline = time.monotonic() + limits.wall_seconds
    while time.monotonic() < deadline:
        with suppress(subprocess.TimeoutExpired):
            child.wait(_POLL_SECONDS)
            return
        if should_stop():
            raise FetchStopped
    raise PackageError(
        ErrorCode.PACKAGE_TOO_LARGE, f"the archive was not read within {limits.wall_seconds} seconds; make it smaller"
    )


def _kill(child: subprocess.Popen[bytes]) -> None:
    """The child and whatever it started; its process group is its own."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _result(exit_status: int, stdout: str, stderr: str) -> Repacked:
    try:
        answer: dict[str, Any] = json.loads(stdout)
    except ValueError:
        raise _died(exit_status, stderr) from None
    if "code" not in answer:
        return Repacked(**answer)
    if answer["code"] == NO_SPACE:
        raise OSError(errno.ENOSPC, answer["message"])
    raise PackageError(ErrorCode(answer["code"]), answer["message"])


def _died(exit_status: int, stderr: str) -> PackageError:
    if exit_status in (-signal.SIGXCPU, -signal.SIGKILL, 1) and not stderr:
        return PackageError(
            ErrorCode.PACKAGE_TOO_LARGE, "the archive takes more time or memory to read than it may; make it smaller"
        )
    logger.error("archive child ended with status %s: %s", exit_status, stderr)
    return PackageError(
        ErrorCode.INTERNAL_ERROR, f"the archive's reader ended with status {exit_status}; the worker's log says why"
    )


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(_ANSWER_BYTES).decode("utf-8", "replace")
