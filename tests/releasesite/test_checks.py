"""What `doctor` examines is a check of Django's framework, with an id and a way to fix it; a start in production asks first."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import Settings

from releasesite import checks, examinations
from releasesite.doctor import Verdict
from tests.support.database import database_url
from tests.support.ports import free_port

RELEASE_SERVER = (
    "import sys; sys.argv = ['release-server', *sys.argv[1:]]; from releasesite.command import main; main()"
)


def told(*argv: str) -> str:
    text = io.StringIO()
    try:
        call_command("doctor", *argv, stdout=text, no_color=True)
    except SystemExit:
        pass
    return text.getvalue()


def ids(databases: list[str] | None) -> set[str]:
    found = run_checks(tags=[checks.TAG], include_deployment_checks=True, databases=databases)
    return {str(message.id) for message in found}


@pytest.mark.django_db
def test_check_deploy_says_what_doctor_says_and_asks_the_database_only_if_told_to(settings: Settings) -> None:
    settings.PACKAGE_HOSTS = ()
    MigrationRecorder.Migration.objects.filter(app="deploys").latest("pk").delete()

    assert "release.W012" in ids(None)
    assert not {"release.E006", "release.E007"} & ids(None)
    assert "release.E007" in ids(["default"])
    assert "lacks 1 migrations. (release.E007)" in told()


@pytest.mark.django_db
def test_a_schema_newer_than_the_code_is_told() -> None:
    MigrationRecorder(connection).record_applied("deploys", "9999_of_next_year")

    assert (
        "schema is newer than this version: it has 1 more migrations, up to deploys.9999_of_next_year. (release.W007)"
        in told()
    )


@pytest.mark.django_db
def test_each_examination_has_a_number_of_its_own_and_a_way_to_fix_it(settings: Settings) -> None:
    settings.PACKAGE_HOSTS = ()
    numbers = [examination.number for examination in examinations.EXAMINATIONS]

    assert len(set(numbers)) == len(numbers)
    for number in numbers:
        assert told("--fix-hint", f"release.E{number:03}").strip()
    assert re.search(r"\(release.W012\)\n +→ .*\n +RELEASE_PACKAGE_HOSTS=packages.example.com ", told("--fix-hint"))
    with pytest.raises(CommandError, match="none of our checks"):
        told("--fix-hint", "release.E099")


def test_lines_for_a_shell_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env").write_text("export SECRET_KEY=hidden\n")
    monkeypatch.setenv("RELEASE_ENV_FILE", str(tmp_path / "env"))

    (finding,) = next(each for each in examinations.EXAMINATIONS if each.number == 4).findings()

    assert finding.verdict is Verdict.NOTE
    assert "export SECRET_KEY" in finding.said
    assert "hidden" not in finding.said


def start(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if "RELEASE" not in name}
    environment = {
        **kept,
        "DJANGO_SETTINGS_MODULE": "releasesite.settings",
        "RELEASE_ENV_FILE": os.devnull,
        **variables,
    }
    argv = (sys.executable, "-c", RELEASE_SERVER, *argv)
    return subprocess.run(
        argv, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60
    )


@pytest.mark.django_db(transaction=True)
def test_web_and_worker_start_over_no_schema_that_they_do_not_know(tmp_path: Path) -> None:
    row = MigrationRecorder.Migration.objects.filter(app="deploys").latest("pk")
    row.delete()
    try:
        for command in ("web", "worker"):
            done = start(command, DATABASE_URL=database_url(), RELEASE_DATA_DIR=str(tmp_path), SECRET_KEY="x" * 60)

            assert done.returncode == 1
            assert "release.E007 The database lacks 1 migrations. Run: python manage.py migrate" in done.stderr
    finally:
        row.save(force_insert=True)


def test_a_database_that_is_away_keeps_no_web_from_starting(tmp_path: Path) -> None:
    """It says 503 until the database is back; the note is in the log, as JSON."""
    gone = f"postgres://nobody@127.0.0.1:{free_port()}/none"
    process = start("web", "--bind=256.0.0.0:1", DATABASE_URL=gone, RELEASE_DATA_DIR=str(tmp_path))

    assert "cannot be reached" in process.stderr
    assert '"level":"warning"' in process.stderr
    assert "release.E" not in process.stderr
    assert "256.0.0.0" in process.stderr  # gunicorn was started, and it alone minds
