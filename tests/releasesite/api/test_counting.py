"""What is counted in many processes, and what their logs say: real web and worker processes, and one scrape."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from django.db import Error, connection
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from deploys.measures import STEPS, TARGETS
from deploys.models import Operation
from inventory.database import tallies
from tests.support.api import caller, new_token
from tests.support.lab import Lab, wait_for_end
from tests.support.package_host import PackageHost
from tests.support.web import Web, running_web
from tests.support.worker import running_worker

Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Found:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def objects_in(log: str) -> list[dict[str, Any]]:
    """Every line is one."""
    return [json.loads(line) for line in log.splitlines()]


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(240)
def test_all_processes_count_together_and_their_logs_say_who_deployed_what(
    tmp_path: Path, package_host: PackageHost, settings: Settings
) -> None:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    lab = Lab.build(tmp_path, package_host, count=2)
    variables = {"ALLOWED_HOSTS": "releases.example.com", "CSRF_TRUSTED_ORIGINS": "https://releases.example.com"}
    token = new_token("read")
    with running_web(**lab.environment, **variables) as web:
        with running_worker(lab.environment) as host:
            good, bad = lab.deploy("v1"), None
            wait_for_end(good, seconds=60)
            bad = lab.deploy("v2", broken=True)
            wait_for_end(bad, seconds=60)
            ask_as_strangers(web)
            assert host.stop() == 0
            worker_log = host.log.read_text()
        headers = {"Authorization": f"Bearer {token}"}
        scrapes = [requests.get(f"{web.url}/metrics", headers=headers, timeout=10).text for _ in range(6)]
        web_log = web.log
    assert_counted(samples_of(scrapes[-1]))
    assert_told(objects_in(worker_log), good, bad)
    assert_refusals_are_lines(objects_in(web_log))


def ask_as_strangers(web: Web) -> None:
    """By the address, which ALLOWED_HOSTS does not name; and by what is no HTTP at all."""
    for path in ("healthz", "readyz"):
        assert requests.get(f"{web.url}/{path}", timeout=10).json()["status"] == "ok"
    assert requests.get(f"{web.url}/metrics", timeout=10).status_code == 401
    assert requests.get(f"{web.url}/v1/deploy/list", timeout=10).json()["errors"][0]["code"] == "host_not_allowed"
    ours = {"Host": "releases.example.com", "X-Forwarded-Proto": "https"}
    for path in ("deploy/list", "deploy/list", "deploy/list", "nothing-here/1", "nothing-here/2"):
        requests.get(f"{web.url}/v1/{path}", headers=ours, timeout=10)
    with socket.create_connection(("127.0.0.1", web.port), timeout=10) as sock:
        sock.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        sock.recv(1000)


def assert_counted(found: Found) -> None:
    assert found[of("release_operations_finished_total", kind="deploy", status="completed")] == 1
    assert found[of("release_operations_finished_total", kind="deploy", status="failed")] == 1
    assert found[of("release_targets_finished_total", kind="deploy", status="completed", code="")] == 2
    assert found[of("release_targets_finished_total", kind="deploy", status="failed", code="command_failed")] == 2
    assert found[of("release_step_seconds_count", kind="deploy", step="restart")] == 4
    assert found[of("release_downloads_total", result="ok")] == 2
    assert found[of("release_downloaded_bytes_total")] > 100
    assert found[of("release_node_bytes_total", delivery="push")] > 100
    assert found[of("release_api_request_seconds_count", route="v1/deploy/list", method="GET", status="401")] == 3
    assert (
        found[of("release_api_request_seconds_bucket", route="v1/deploy/list", method="GET", status="401", le="+Inf")]
        == 3
    )
    assert not [key for key in found if "nothing-here" in str(key)], "what strangers ask for is no label"


def assert_told(lines: Sequence[dict[str, Any]], good: Operation, bad: Operation) -> None:
    def told(event: str, operation: Operation) -> list[dict[str, Any]]:
        return [line for line in lines if line["event"] == event and line["operation"] == str(operation)]

    who = {"service": "user-service", "requested_by": "scheduler", "instances": 2}
    (begun,), (ended,) = told("operation begun here", good), told("operation ended", good)
    assert begun.items() >= {**who, "version": "v1"}.items()
    assert ended.items() >= {**who, "version": "v1", "status": "completed", "completed": 2}.items()
    assert 0 < ended["seconds"] < 60
    failed = told("instance failed", bad)
    assert {(line["instance"], line["code"], line["reverted"]) for line in failed} == {
        ("instance-1", "command_failed", True),
        ("instance-2", "command_failed", True),
    }
    assert failed[0].items() >= {**who, "version": "v2", "node": "node-1", "step": "restart"}.items()


def assert_refusals_are_lines(lines: Sequence[dict[str, Any]]) -> None:
    (refused,) = [line for line in lines if line["logger"] == "django.security.DisallowedHost"]
    assert "exception" not in refused
    assert any(line["logger"] == "gunicorn.error" for line in lines)


@pytest.mark.django_db
def test_what_cannot_be_written_is_kept_and_written_later() -> None:
    TARGETS.add("deploy", "completed", "")
    STEPS.observe(0.07, "deploy", "stage")
    connection.settings_dict["NAME"], name = "nowhere", connection.settings_dict["NAME"]
    try:
        in_a_thread(fails_to_flush)
    finally:
        connection.settings_dict["NAME"] = name
    TARGETS.add("deploy", "completed", "")

    found = samples_of(caller("read").get("/metrics").content.decode())

    assert found[of("release_targets_finished_total", kind="deploy", status="completed", code="")] == 2
    buckets = {
        bound: found[of("release_step_seconds_bucket", kind="deploy", step="stage", le=bound)]
        for bound in ("0.05", "0.1", "+Inf")
    }
    assert buckets == {"0.05": 0, "0.1": 1, "+Inf": 1}
    assert found[of("release_step_seconds_sum", kind="deploy", step="stage")] == pytest.approx(0.07)


def fails_to_flush() -> None:
    """In a thread, whose connection is its own."""
    connection.settings_dict["NAME"] = "nowhere"
    with pytest.raises(Error):
        tallies.flush()


def in_a_thread(call: Any) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # the test's to raise
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failures == []


def test_a_fork_tells_nothing_of_what_its_parent_counted() -> None:
    TARGETS.add("rollback", "failed", "internal_error")
    child = os.fork()
    if not child:
        os._exit(len(tallies._new))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    tallies._new.clear()
