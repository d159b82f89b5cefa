"""The real settings, over a data folder and an embedded server of this test run's own.

They are prepared here, and not in conftest.py, because pytest-django reads the settings before any conftest.
An xdist worker, or a process that a test starts, finds the folder in its environment and shares it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from releasesite.embedded_postgres.server import server_in

OWNER = "RELEASE_TEST_RUN"
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "4GB"}


def _leave_nothing(folder: Path) -> None:
    if os.environ[OWNER] == str(os.getpid()):
        server_in(folder / "postgres").release(wait=True)
        shutil.rmtree(folder, ignore_errors=True)


os.environ.setdefault("RELEASE_LOCAL_NODES", "1")
os.environ["RELEASE_ENV_FILE"] = os.devnull  # what this machine is configured for is no business of a test's
if OWNER not in os.environ:
    os.environ[OWNER] = str(os.getpid())
    _folder = Path(tempfile.mkdtemp(prefix="release-tests-"))
    _folder.chmod(0o755)
    os.environ["RELEASE_DATA_DIR"] = str(_folder)
    atexit.register(_leave_nothing, _folder)
    if not os.environ.get("DATABASE_URL"):
        server_in(_folder / "postgres").create(FAST, durable=False)

from releasesite.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
