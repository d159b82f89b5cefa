"""The path of `make run`, in a copy of the checkout: everything real, seen from outside."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from releasesite.demo.ports import free_port
from tests.support.demo import (
    ROOT,
    RunningDemo,
    checkout,
    clean_environment,
    running_demo,
    start_demo,
    wait_until_gone,
)

pytestmark = pytest.mark.timeout(400)
ALL = ("demo-1", "demo-2", "demo-3")


def everywhere(version: str) -> dict[str, str]:
    return dict.fromkeys(ALL, version)


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningDemo]:
    with checkout() as folder, running_demo(folder) as demo:
        yield demo


def test_it_ends_with_everything_that_a_newcomer_needs(demo: RunningDemo) -> None:
    output = demo.output
    password = (demo.folder / "var" / "admin-password").read_text().strip()

    assert demo.url in output
    assert re.search(rf"User +admin\n +Password +{re.escape(password)} ", output)
    assert f"API token  {demo.token} " in output
    assert "embedded PostgreSQL" in output
    assert "v1.0.0 on demo-1, demo-2, demo-3" in output


def test_secrets_are_kept_in_files_that_nobody_else_may_read(demo: RunningDemo) -> None:
    var = demo.folder / "var"
    secrets = [var / "admin-password", var / "demo" / "token", *var.glob("demo/nodes/*/*/run/demo.json")]

    assert len(secrets) == 5
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


def test_the_admin_can_log_in_with_the_printed_password(demo: RunningDemo) -> None:
    browser = requests.Session()
    browser.get(f"{demo.url}/login", timeout=10)
    form = {
        "username": "admin",
        "password": (demo.folder / "var" / "admin-password").read_text().strip(),
        "csrfmiddlewaretoken": browser.cookies["csrftoken"],
    }

    answer = browser.post(f"{demo.url}/login", data=form, timeout=10, allow_redirects=False)

    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    assert "demo-service" in browser.get(f"{demo.url}/", timeout=10).text
    assert browser.get(f"{demo.url}/admin/", timeout=10, allow_redirects=False).status_code == 200


def test_a_deploy_over_http_reaches_the_service_processes(demo: RunningDemo) -> None:
    before = demo.ask_instances()

    status = demo.deploy("v1.1.0", "e2e-deploy")

    assert status["status"] == "completed"
    assert status["progress"]["completed"] == 3
    after = demo.ask_instances()
    assert {name: about["version"] for name, about in after.items()} == everywhere("v1.1.0")
    assert all(after[name]["pid"] != before[name]["pid"] for name in ALL), "the same process cannot be the new version"
    versions = demo.call("GET", "/v1/service/demo-service/instances/versions")
    assert versions["version_summary"] == {"v1.1.0": 3}


def test_a_rollback_brings_the_earlier_version_back_without_a_download(demo: RunningDemo) -> None:
    demo.deploy("v1.1.0", "e2e-before-rollback-1")
    demo.deploy("v1.2.0", "e2e-before-rollback-2")
    log = demo.folder / "var" / "demo" / "logs" / "packages.log"
    requests_before = log.read_text()

    started = demo.call("POST", "/v1/rollback/batch", {"service": "demo-service", "target_version": "v1.1.0"})
    status = demo.end_of(f"/v1/rollback/status/{started['rollback_id']}")

    assert status["status"] == "completed"
    assert {each["source"] for each in status["instances"]} == {"node"}
    assert demo.versions() == everywhere("v1.1.0")
    assert log.read_text() == requests_before


def test_one_instance_rolls_back_to_what_it_ran_before(demo: RunningDemo) -> None:
    demo.deploy("v1.0.0", "e2e-before-single-1")
    demo.deploy("v1.2.0", "e2e-before-single-2")

    started = demo.call("POST", "/v1/rollback/instance", {"instance_id": "demo-2"})
    demo.end_of(f"/v1/rollback/status/{started['rollback_id']}")

    assert demo.versions() == {"demo-1": "v1.2.0", "demo-2": "v1.0.0", "demo-3": "v1.2.0"}


def test_a_version_that_fails_its_restart_is_taken_back_and_says_why(demo: RunningDemo) -> None:
    demo.deploy("v1.1.0", "e2e-before-failure")

    status = demo.deploy("v1.3.0", "e2e-failure")

    assert status["status"] == "failed"
    assert {(each["status"], each["reverted"], each["version"]) for each in status["instances"]} == {
        ("failed", True, "v1.1.0")
    }
    assert {each["error"]["code"] for each in status["instances"]} == {"command_failed"}
    assert demo.versions() == everywhere("v1.1.0")
    assert "KeyError: 'colour'" in json.dumps(demo.call("GET", "/v1/deploy/logs/e2e-failure"))


def test_the_instances_report_themselves_healthy(demo: RunningDemo) -> None:
    deadline = time.monotonic() + 40
    while True:
        found = demo.call("GET", "/v1/service/demo-service/instances")["instances"]
        if {each["status"] for each in found} == {"healthy"}:
            break
        assert time.monotonic() < deadline, found
        time.sleep(0.5)


def test_the_printed_curl_lines_work_as_they_stand(demo: RunningDemo) -> None:
    deploy, rollback, failing = demo.printed_curls()

    assert shell(demo, deploy)["status"] == "started"
    demo.end_of_all()
    assert demo.versions() == everywhere("v1.1.0")
    assert shell(demo, rollback)["status"] == "started"
    demo.end_of_all()
    assert demo.versions() == everywhere("v1.0.0")
    assert shell(demo, failing)["status"] == "started"
    demo.end_of_all()
    assert demo.versions() == everywhere("v1.0.0")


@pytest.mark.parametrize("guide", ["docs/quick_start.md", "docs/zh/quick_start.md"])
def test_the_commands_of_the_quick_start_work(demo: RunningDemo, guide: str) -> None:
    make_run, *others = commands_of(ROOT / guide)
    commands = [command for command in others if command.startswith("curl ")]
    assert make_run == "make run"
    assert len(commands) == 9
    answers = []
    for command in commands:
        answers.append(shell(demo, for_this_demo(demo, command, run=guide.replace("/", "-"))))
        demo.end_of_all()

    deploy, status, instance, _, _, versions, _, broken, logs = answers
    assert deploy["status"] == "started"
    assert status["status"] == "completed"
    assert instance["version"] == "v1.1.0"
    assert versions["version_summary"] == {"v1.0.0": 3}
    assert broken["status"] == "failed"
    assert {each["reverted"] for each in broken["instances"]} == {True}
    assert "KeyError: 'colour'" in json.dumps(logs)


def test_the_client_does_the_same_as_quick_start_and_readme_say(demo: RunningDemo) -> None:
    install, *commands = [
        each
        for document in ("docs/quick_start.md", "README.md")
        for each in commands_of(ROOT / document)
        if re.match("release |.venv/bin/pip", each)
    ]
    commands.remove(install)
    client_without_pip(demo.folder)
    script = [install.partition("\n")[2], *(f"{command}; echo == $?" for command in commands)]

    done = subprocess.run(
        ["sh", "-c", for_this_demo(demo, "\n".join(script), run="client")],
        cwd=demo.folder,
        env=clean_environment(PYTHONPATH=str(ROOT / "client" / "src")),
        capture_output=True,
        text=True,
        check=True,
    )

    assert re.findall(r"^== (\d)$", done.stdout, re.MULTILINE) == ["0", "0", "0", "0", "0", "1", "0", "0", "0"], done
    assert "deploy my-first-deploy-client: demo-service v1.1.0: completed" in done.stdout
    assert "demo-service: v1.0.0: 3" in done.stdout
    assert "failed: 0 of 3 completed, 3 failed" in done.stderr
    assert "KeyError: 'colour'" in done.stdout


def client_without_pip(checkout: Path) -> None:
    """The command where the quick start's `pip install` puts it."""
    command = checkout / ".venv" / "bin" / "release"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m release_client "$@"\n')
    command.chmod(0o755)


@pytest.mark.parametrize(
    ("english", "chinese"), [("README.md", "README.zh-CN.md"), ("docs/quick_start.md", "docs/zh/quick_start.md")]
)
def test_both_languages_have_the_same_commands(english: str, chinese: str) -> None:
    assert commands_of(ROOT / english) == commands_of(ROOT / chinese)


def test_a_process_that_is_killed_is_started_again(demo: RunningDemo) -> None:
    children = {name: child for child in psutil.Process(demo.process.pid).children() for name in child.cmdline()}
    for name in ("gunicorn", "worker"):
        children[name].kill()
    wait_for(lambda: demo.output.count("starting it again") == 2)
    # The dead web's children answer for a moment still: a scheduler whose call is cut sends it again.
    status: dict[str, Any] = {}

    def is_deployed() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            status.update(demo.deploy("v1.2.0", "e2e-after-kills"))
        return bool(status)

    wait_for(is_deployed)

    assert status["status"] == "completed"
    assert demo.versions() == everywhere("v1.2.0")


def test_a_port_that_is_taken_is_named_with_its_holder_and_another_one_is_suggested(demo: RunningDemo) -> None:
    with checkout() as other:
        second = start_demo(other, port=demo.port)
        status = second.process.wait(60)
        time.sleep(0.2)

    assert status == 1
    assert f"Port {demo.port} is taken by" in second.output
    assert re.search(r"PORT=\d+ make run", second.output)
    assert "(pid " in second.output


def test_a_second_demo_in_the_same_folder_is_refused(demo: RunningDemo) -> None:
    second = start_demo(demo.folder, port=demo.port + 1)

    assert second.process.wait(60) == 1
    time.sleep(0.2)
    assert f"running already: {demo.url}" in second.output
    assert demo.versions()


def test_ctrl_c_leaves_nothing_and_a_second_run_is_fast_and_goes_on_where_the_first_ended() -> None:
    with checkout() as folder:
        with running_demo(folder) as first:
            first.deploy("v1.1.0", "e2e-first-run")
            assert first.stop(signal.SIGINT) == 0
        assert wait_until_gone(folder, seconds=3) == []

        began = time.monotonic()
        with running_demo(folder, port=first.port) as second:
            seconds = time.monotonic() - began

            assert seconds < 20, second.output
            assert second.versions() == everywhere("v1.1.0")
            assert second.instance_ports == first.instance_ports
            assert second.call("GET", "/v1/deploy/list")["deploys"][0]["deploy_id"] == "e2e-first-run"
            password = (folder / "var" / "admin-password").read_text().strip()
            assert password in first.output
            assert password not in second.output
            assert first.token != second.token or first.token not in first.output

            second.process.kill()
            second.process.wait()

        assert wait_until_gone(folder, seconds=30) == []


def test_sigterm_in_the_middle_of_the_start_leaves_nothing() -> None:
    with checkout() as folder:
        demo = start_demo(folder, port=free_port())
        wait_for(lambda: "packages" in demo.output)

        demo.stop(signal.SIGTERM)

        assert wait_until_gone(folder, seconds=3) == []


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "８０００"])
def test_a_bad_port_is_refused_in_one_line(port: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "demo"],
        cwd=ROOT,
        env=clean_environment(PORT=port, RELEASE_DATA_DIR=str(ROOT / "var")),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"CommandError: PORT is {port!r}: it must be a number from 1 to 65535."]


def commands_of(readme: Path) -> list[str]:
    """What a reader is told to paste, in order."""
    return [block.strip() for block in re.findall(r"^```sh\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL)]


def for_this_demo(demo: RunningDemo, command: str, *, run: str) -> str:
    """With this demo's ports instead of the usual ones, and ids of this test's own."""
    ports = {8000: demo.port, 8700: demo.package_port, 8701: demo.instance_ports["demo-1"]}
    for usual, own in ports.items():
        command = command.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{own}")
    return re.sub(r"my-(first|second|broken)-(deploy|rollback)", rf"\g<0>-{run}", command)


def shell(demo: RunningDemo, command: str) -> dict[str, Any]:
    done = subprocess.run(
        ["sh", "-c", command], cwd=demo.folder, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert "errors" not in answer, answer
    return answer


def wait_for(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
