"""The image and compose.yaml, where no container engine can be had: what they name is there, and what they say is tried.

(Built and run by hand, as its header says, with podman: read-only root, no capabilities, no network.)
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class

from deploys.host import presence
from releasesite.container_health import web_is_healthy
from tests.support.database import process_environment
from tests.support.ports import free_port

ROOT = Path(settings.BASE_DIR)
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if name != "database"}


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_closed_and_runs_a_command_that_there_is(name: str) -> None:
    service = OURS[name]

    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])
    assert not [value for value in service["environment"].values() if "password" in value.lower()]
    assert {Path(value).name for value in service["environment"].values() if "/secrets/" in value} == set(
        service["secrets"]
    )
    command, *options = service["command"]
    load_command_class(get_commands()[command], command).create_parser("release-server", command).parse_args(options)


def test_what_secrets_env_names_is_there_for_every_service_that_reads_it() -> None:
    head = (ROOT / "compose.yaml").read_text().partition("name: release")[0]

    assert "/run/secrets/" not in head


def test_no_secret_is_copied_into_an_image_or_committed() -> None:
    assert "secrets" in (ROOT / ".dockerignore").read_text().split()
    assert "secrets/" in (ROOT / ".gitignore").read_text().split()


def test_the_image_runs_as_an_account_of_its_own_and_is_made_of_what_there_is() -> None:
    text = (ROOT / "Containerfile").read_text()

    assert re.findall(r"^USER (.*)", text, re.MULTILINE) == ["10001:10001"]
    assert "--require-hashes --requirement requirements.txt" in text
    assert 'ENTRYPOINT ["release-server"]' in text
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {"requirements.txt", "pyproject.toml", "templates", "locale", "packaging", "README.md", "LICENSE"} & set(
        ignored
    )


class Refuses(BaseHTTPRequestHandler):
    with_status = 400

    def do_GET(self) -> None:
        self.send_error(self.with_status)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    found = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.mark.parametrize(("status", "is_healthy"), [(400, True), (500, False)])
def test_a_web_that_answers_is_healthy(
    status: int, is_healthy: bool, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Refuses, "with_status", status)

    assert web_is_healthy(server.server_port) is is_healthy
    assert web_is_healthy(free_port()) is False


def worker_check(**variables: str) -> int:
    argv = (sys.executable, "-m", "releasesite.container_health", "worker")
    return subprocess.run(argv, cwd=ROOT, env=process_environment(**variables)).returncode


@pytest.mark.django_db(transaction=True)
def test_a_worker_is_healthy_while_its_heartbeat_is_written() -> None:
    assert worker_check() == 1

    presence.beat("here:1")

    assert worker_check() == 0
    assert worker_check(DATABASE_URL="postgres://nobody@127.0.0.1:1/none") == 0  # to start it again would not help
