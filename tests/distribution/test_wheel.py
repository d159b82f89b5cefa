"""`pip install`, then `release-server`: nothing of the checkout is needed."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import requests
from hatchling.build import build_sdist

from releasesite import __version__
from tests.distribution.conftest import Installed
from tests.support.database import database_url
from tests.support.ports import accepts, free_port
from tests.support.worker import wait_for


def test_the_wheel_has_every_file_that_is_used_and_says_its_licence(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"release_execution-{__version__}.dist-info/METADATA").decode()

    expected = {f"releasesite/_files/{name}" for name in ("manage.py", "gunicorn.conf.py")}
    for folder, into in (("templates", "releasesite/_files/"), ("locale", "releasesite/_files/"), ("releasesite", "")):
        expected |= {f"{into}{path.relative_to(installed.source)}" for path in files(installed.source / folder)}
    for app in ("inventory", "deploys", "rollbacks"):
        expected |= {str(path.relative_to(installed.source)) for path in files(installed.source / app)}
    assert expected <= names
    assert not [name for name in names if name.startswith(("tests", "bench", "client", "scripts"))]
    assert "License-Expression: Apache-2.0\n" in metadata


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_the_source_distribution_is_enough_to_build_from(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(installed.source)

    name = build_sdist(str(tmp_path))

    with tarfile.open(tmp_path / name) as archive:
        kept = {member.partition("/")[2] for member in archive.getnames()}
    assert {
        "pyproject.toml",
        "LICENSE",
        "manage.py",
        "gunicorn.conf.py",
        "templates/base.html",
        "requirements.txt",
    } <= kept


def test_the_command_says_its_version(installed: Installed) -> None:
    assert installed.run("--version").stdout == f"release-server {__version__}\n"


def test_it_refuses_in_one_line_where_nothing_is_configured(installed: Installed, tmp_path: Path) -> None:
    done = installed.run("migrate", RELEASE_DATA_DIR=str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.startswith(f"DATABASE_URL is not set, and {tmp_path} has no embedded database: set it in ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.timeout(300)
@pytest.mark.django_db(transaction=True)
def test_web_and_worker_serve_from_it(installed: Installed, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(f"DATABASE_URL='{database_url()}'\nRELEASE_DATA_DIR={tmp_path}\nRELEASE_WORKERS=1\n")
    environment = installed.environment(RELEASE_ENV_FILE=str(file))
    assert installed.run("collectstatic", "--no-input", "--verbosity=0").returncode == 0
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("w") as log:
        running = [
            subprocess.Popen((*installed.command, *argv), cwd="/", env=environment, stdout=log, stderr=log)
            for argv in (("web", f"--bind=127.0.0.1:{port}"), ("worker",))
        ]
    try:
        wait_for(lambda: accepts(port), what="web", log=tmp_path / "log")
        assert requests.get(f"{url}/healthz").json() == {"status": "ok", "version": __version__}
        page = requests.get(f"{url}/login", headers={"Accept-Language": "zh-CN"}).text
        assert "登录" in page
        script = page.partition("/static/console/console.")[2].partition('"')[0]
        assert requests.get(f"{url}/static/console/console.{script}").headers["Cache-Control"].endswith("immutable")
        wait_for(lambda: requests.get(f"{url}/readyz").status_code == 200, what="worker", log=tmp_path / "log")
    finally:
        for process in running:
            process.terminate()
        assert [process.wait(timeout=40) for process in running] == [0, 0]
