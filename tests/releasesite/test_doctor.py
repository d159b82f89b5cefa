from __future__ import annotations

import io
import socket
import subprocess
from pathlib import Path

import pytest
from django.core.management import call_command
from pytest_django import Settings

from deploys.models import Worker
from releasesite import __version__, doctor
from releasesite.doctor import Verdict
from tests.support.fleet import make_node
from tests.support.ports import free_port

pytestmark = pytest.mark.django_db


def output() -> str:
    text = io.StringIO()
    try:
        call_command("doctor", stdout=text, no_color=True)
    except SystemExit as end:
        return f"{text.getvalue()}exit {end.code}"
    return f"{text.getvalue()}exit 0"


def test_it_finds_nothing_bad_where_everything_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.setattr(doctor, "DEFAULT_PORT", str(free_port()))

    said = output()

    assert "BAD" not in said
    assert "The database has every migration" in said
    assert "→ Set RELEASE_PACKAGE_HOSTS=packages.example.com" in said
    assert "→ Run: python manage.py worker" in said
    assert said.endswith("exit 0")


def test_it_names_who_holds_the_port_and_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))

        said = output()

    assert f"BAD  Port {port} is taken by " in said
    assert "pid " in said
    assert "PORT=" in said
    assert said.endswith("exit 1")


def test_it_says_that_a_key_has_a_passphrase(tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "a word", "-f", str(key)), check=True)

    finding = doctor._key_file(str(key))

    assert finding.verdict is Verdict.BAD
    assert "Passphrase" in finding.said


def test_it_says_what_is_wrong_with_a_file_that_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key\n")

    assert doctor._key_file(str(tmp_path / "key")).verdict is Verdict.BAD


def test_it_says_when_the_certificate_beside_the_key_expired(tmp_path: Path) -> None:
    for name in ("key", "ca"):
        subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)), check=True)
    assert doctor._key_file(str(tmp_path / "key")).verdict is Verdict.GOOD
    signing = ("ssh-keygen", "-q", "-s", "ca", "-I", "worker", "-n", "deploy", "-V", "20240101:20240115", "key.pub")
    subprocess.run(signing, check=True, cwd=tmp_path)

    finding = doctor._key_file(str(tmp_path / "key"))

    assert finding.verdict is Verdict.BAD
    assert "key-cert.pub expired on 2024-01-1" in finding.said


def test_it_says_that_nodes_would_not_know_where_to_fetch_packages_from(settings: Settings) -> None:
    settings.PUBLIC_URL = ""
    make_node(delivery="pull")

    assert "1 nodes fetch their packages themselves" in output()

    settings.PUBLIC_URL = "https://releases.example.com"
    assert "fetch their packages" not in output()


def test_it_names_a_worker_of_another_version() -> None:
    Worker.objects.create(name="w-1", host="host-1", pid=1)
    Worker.objects.create(name="w-2", host="host-2", pid=1, version="0.0.9")
    Worker.objects.create(name="w-3", host="host-3", pid=1, version=__version__)
    said = doctor.worker()
    assert said.verdict is Verdict.NOTE
    assert "host-1 (before 0.2.0), host-2 (0.0.9)." in said.said
