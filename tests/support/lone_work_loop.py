"""A drive in a process of its own, for a test that kills it: much quicker to have than a whole worker host."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psutil
from django.conf import settings

from tests.support.database import process_environment

PROGRAM = """
import django
django.setup()
{first}
from deploys.worker.work_loop import run
run({queue!r})
"""


@contextmanager
def lone_work_loop(queue: str, variables: Mapping[str, str], *, first: str = "") -> Iterator[psutil.Popen]:
    """Starts it; it is gone afterwards. What it runs on a local node goes on, as it does on any node.

    first: Python that the process executes before the drive.
    """
    process = psutil.Popen(
        [sys.executable, "-c", PROGRAM.format(queue=queue, first=first)],
        cwd=settings.BASE_DIR,
        env=process_environment(**variables),
        stdin=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        kill(process)


def kill(process: psutil.Popen, *, with_its_node_programs: bool = False) -> None:
    programs = process.children(recursive=True) if with_its_node_programs and process.is_running() else []
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
    process.wait()
    for program in programs:
        with contextlib.suppress(psutil.NoSuchProcess):
            program.kill()
