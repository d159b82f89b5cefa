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
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from deploys.error_codes import ErrorCode
from deploys.packages import errors
from deploys.packages.archive.child import HOST_TROUBLE
from deploys.packages.archive.refusals import Limits
from deploys.packages.archive.repack import Repacked
from deploys.packages.archive.zip_names import UTF8
from deploys.packages.errors import FetchStopped, PackageError
from deploys.told import Telling, Told, from_json
from deploys.told import marked as _

logger = logging.getLogger(__name__)

READINGS = 3
_POLL_SECONDS = 0.1
_PAUSE_SECONDS = 1.0
_ANSWER_BYTES = 16 * 1024
_SOURCE_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from deploys.packages.archive.child import main; main(*sys.argv[1:])"


class _Died(Exception):
    """The reader's end tells nothing of the package. told: how it ended."""

    def __init__(self, told: Told) -> None:
        super().__init__(str(told))
        self.told = told


def repack(
    package: BinaryIO,
    artifact: BinaryIO,
    *,
    folder: Path,
    limits: Limits,
    zip_names: str = UTF8,
    manifest: BinaryIO | None = None,
    should_stop: Callable[[], bool] = errors.never,
    on_note: Callable[[Told], None] = errors.ignore,
) -> Repacked:
    """Write the artifact of `package` to `artifact`, and its manifest to `manifest`; open files with a descriptor.

    folder: where temporary files may go. zip_names: the encoding of a zip's names that are not UTF-8. on_note:
    told of what is taken otherwise than the package says, and of a reader that died. Only what the reader itself says is a
    verdict on the package; one that dies is followed by another, READINGS in all. Raises `PackageError`, OSError for
    trouble of this host's, or `FetchStopped` soon after `should_stop()` is true.
    """
    written = [artifact.fileno()] if manifest is None else [artifact.fileno(), manifest.fileno()]
    for reading in range(1, READINGS + 1):
        try:
            reader = command(artifact.fileno(), limits, zip_names, manifest_descriptor=_descriptor(manifest))
            repacked, notes = _read(reader, package, written, folder, limits, should_stop)
        except _Died as died:
            logger.error("The archive's reader, %d of %d: %s.", reading, READINGS, died)
            if reading == READINGS:
                raise _given_up(died) from None
            text = _("The package's reader on this worker's host %(died)s; reading again (%(reading)s of %(most)s).")
            on_note(Told(text, {"died": died.told, "reading": reading + 1, "most": READINGS}))
        else:
            for note in notes:
                on_note(note)
            return repacked
        _pause(should_stop)
        for descriptor in written:
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.ftruncate(descriptor, 0)
    raise AssertionError("unreachable")


def _given_up(died: _Died) -> PackageError:
    return PackageError(
        ErrorCode.INTERNAL_ERROR,
        Told(
            _(
                "its reader %(died)s, %(count)s times; the log of the host's kernel may say why (a lack of memory ends the "
                "largest process). Nothing is known against the package: see to that host, then retry"
            ),
            {"died": died.told, "count": READINGS},
        ),
    )


def _pause(should_stop: Callable[[], bool]) -> None:
    until = time.monotonic() + _PAUSE_SECONDS
    while time.monotonic() < until:
        if should_stop():
            raise FetchStopped
        time.sleep(_POLL_SECONDS)


def _read(
    reader: list[str],
    package: BinaryIO,
    written: Sequence[int],
    folder: Path,
    limits: Limits,
    should_stop: Callable[[], bool],
) -> tuple[Repacked, Telling]:
    with _in_memory("stdout") as stdout, _in_memory("stderr") as stderr:
        child = subprocess.Popen(
            reader,
            stdin=package.fileno(),
            stdout=stdout,
            stderr=stderr,
            pass_fds=written,
            cwd=folder,
            env={"LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        try:
            _wait(child, limits, should_stop)
        finally:
            _kill(child)
        return _result(child.returncode, _text(stdout), _text(stderr))


def _in_memory(name: str) -> BinaryIO:
    """For what the reader says: a full disk must not cut that off."""
    return os.fdopen(os.memfd_create(name), "w+b")


def _descriptor(file: BinaryIO | None) -> str:
    return "" if file is None else str(file.fileno())


def command(
    artifact_descriptor: int, limits: Limits, zip_names: str = UTF8, *, manifest_descriptor: str = ""
) -> list[str]:
    """The child's command line. -I -S: nothing of the user's or of site-packages gets in."""
    descriptors = [str(artifact_descriptor), manifest_descriptor]
    arguments = [str(_SOURCE_ROOT), *descriptors, json.dumps(asdict(limits)), zip_names, str(os.getpid())]
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
        ErrorCode.INTERNAL_ERROR,
        Told(
            _(
                "its reader was not done after %(seconds)s seconds, though its allowance of processor time was not used up: "
                "the host is too busy or its disk too slow. Nothing is known against the package: retry"
            ),
            {"seconds": limits.wall_seconds},
        ),
    )


def _kill(child: subprocess.Popen[bytes]) -> None:
    """The child and whatever it started; its process group is its own."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _result(exit_status: int, stdout: str, stderr: str) -> tuple[Repacked, Telling]:
    try:
        answer: dict[str, Any] = json.loads(stdout)
    except ValueError:
        raise _died(exit_status, stderr) from None
    if "code" not in answer:
        return Repacked(**answer["repacked"]), from_json(answer["notes"])
    if answer["code"] != HOST_TROUBLE:
        raise PackageError(ErrorCode(answer["code"]), *from_json(answer["told"]), advice=from_json(answer["advice"]))
    if answer["errno"] == errno.ENOMEM:
        raise _Died(Told(_("got no memory from the host")))
    raise OSError(answer["errno"], answer["message"])


def _died(exit_status: int, stderr: str) -> _Died | PackageError:
    if exit_status < 0:
        text = _("was killed by signal %(number)s (%(name)s)")
        return _Died(Told(text, {"number": -exit_status, "name": _signal_name(-exit_status)}))
    logger.error("The archive's reader ended with status %s: %s", exit_status, stderr)
    return PackageError(
        ErrorCode.INTERNAL_ERROR,
        Told(_("its reader ended with status %(status)s; the worker's log says why"), {"status": exit_status}),
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "a real-time signal"


def _text(file: BinaryIO) -> str:
    file.seek(0)
    return file.read(_ANSWER_BYTES).decode("utf-8", "replace")
