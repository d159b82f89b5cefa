from __future__ import annotations

import os
import shutil

import pytest

from tests.settings import OWNER

pytest_plugins = ("tests.support.sshd",)


def pytest_unconfigure(config: pytest.Config) -> None:
    """The run's data folder goes with it, after its server has stopped."""
    if os.environ.get(OWNER) != str(os.getpid()):
        return
    if not os.environ.get("DATABASE_URL"):
        from releasesite.embedded_postgres.base import server

        server.release(wait=True)
    shutil.rmtree(os.environ["RELEASE_DATA_DIR"], ignore_errors=True)
