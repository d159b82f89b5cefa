"""The web process as it runs in production: gunicorn, over the test's database and package store."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from tests.support.database import process_environment
from tests.support.ports import accepts, free_port
from tests.support.worker import wait_for


@dataclass(frozen=True, kw_only=True)
class Web:
    port: int
    log_file: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text()


@contextmanager
def running_web(port: int | None = None, /, **variables: str) -> Iterator[Web]:
    port = port or free_port()
    with tempfile.NamedTemporaryFile(prefix="web-", suffix=".log") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "releasesite.wsgi", f"--bind=127.0.0.1:{port}"],
            cwd=settings.BASE_DIR,
            env=process_environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(lambda: accepts(port), what="web process", log=Path(log.name))
            yield Web(port=port, log_file=Path(log.name))
        finally:
            process.terminate()
            process.wait(timeout=30)
