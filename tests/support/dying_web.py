"""The web application, in a process that dies between the commit and the answer while the file named in
DIE_BEFORE_ANSWERING exists: `gunicorn tests.support.dying_web:application`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from releasesite.wsgi import application as real_application

DIES = "DIE_BEFORE_ANSWERING"


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    answer: Iterable[bytes] = real_application(environ, start_response)
    if environ["REQUEST_METHOD"] == "POST" and Path(os.environ[DIES]).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
