"""The real settings, over a data folder and an embedded server of this test run's own.

They are prepared here, and not in conftest.py, because pytest-django reads the settings before any conftest.
An xdist worker, or a process that a test starts, finds the folder in its environment and shares it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from releasesite.embedded_postgres.server import server_in

OWNER = "RELEASE_TEST_RUN"
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "4GB"}

if OWNER not in os.environ:
    os.environ[OWNER] = str(os.getpid())
    os.environ["RELEASE_DATA_DIR"] = tempfile.mkdtemp(prefix="release-tests-")
    if not os.environ.get("DATABASE_URL"):
        Path(os.environ["RELEASE_DATA_DIR"]).chmod(0o755)
        server_in(Path(os.environ["RELEASE_DATA_DIR"]) / "postgres").create(FAST, durable=False)

from releasesite.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
