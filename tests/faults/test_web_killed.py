"""FAULTS.md 10, 11: the web process dies when a request is stored and not yet answered; many send the same at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from django.conf import settings

from deploys.models import Operation
from deploys.states import OperationStatus
from tests.support.api import new_token
from tests.support.database import process_environment
from tests.support.dying_web import DIES
from tests.support.lab import Lab, check_invariants, wait_until
from tests.support.ports import accepts, free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

CALLERS = 100


@pytest.fixture
def dies(tmp_path: Path) -> Path:
    return tmp_path / "dies"


@pytest.fixture
def web(dies: Path, tmp_path: Path) -> Iterator[str]:
    """gunicorn with one worker process, which its master replaces."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "tests.support.dying_web:application", f"--bind=127.0.0.1:{port}"]
    environment = process_environment(**{DIES: str(dies), "WEB_CONCURRENCY": "1"})
    with (tmp_path / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--workers=1", "--threads=8"], cwd=settings.BASE_DIR, env=environment, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: accepts(port), what="web server", seconds=30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=40)


@pytest.fixture
def send(web: str, lab: Lab) -> Callable[..., requests.Response]:
    headers = {"Authorization": f"Bearer {new_token()}"}
    body: dict[str, object] = {
        "service": "user-service",
        "version": "v1",
        "instances": [instance.instance_id for instance in lab.instances],
        "package_url": lab.add_package("v1"),
        "deploy_id": "deploy-1",
    }

    def send(**changes: object) -> requests.Response:
        return requests.post(f"{web}/v1/deploy/execute", json={**body, **changes}, headers=headers, timeout=60)

    return send


def test_the_same_request_again_gets_what_the_dead_process_had_stored(
    send: Callable[..., requests.Response], dies: Path, lab: Lab, run_work_loop: Callable[[str], None]
) -> None:
    dies.touch()
    with pytest.raises(requests.ConnectionError):
        send()
    stored = Operation.objects.get()
    dies.unlink()

    assert send().status_code == 202
    assert Operation.objects.get() == stored
    run_work_loop("deploys")
    stored.refresh_from_db()
    assert stored.status == OperationStatus.COMPLETED
    check_invariants(lab.instances)


def test_a_hundred_at_once_get_one_operation_and_another_body_a_conflict(
    send: Callable[..., requests.Response],
) -> None:
    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(lambda _: send(), range(CALLERS)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert Operation.objects.count() == 1
    assert send(version="v2").status_code == 409
