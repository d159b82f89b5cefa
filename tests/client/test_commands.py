"""Every command of `release` against a running system, as text and as JSON."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from release_client import Client, Refused
from release_client.cli.screen import plain
from tests.client.world import World, ended
from tests.support.lab import wait_until
from tests.support.package_host import GOOD, Behaviour

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def deployed(world: World) -> World:
    """Both instances run v-one; `first` is the deploy that brought it."""
    url = world.lab.add_package("v-one")
    ran = world.release("deploy", "user-service", "v-one", "--package-url", url, "--all", "--id", "first", "--wait")
    assert ran.status == 0, ran
    return world


@pytest.fixture
def client(world: World) -> Client:
    return Client(world.url, world.token_file.read_text().strip())


def test_versions(deployed: World) -> None:
    ran, as_json = deployed.release("versions", "user-service"), deployed.release("versions", "user-service", "--json")

    assert ran.status == as_json.status == 0, ran
    assert "user-service: v-one: 2" in ran.out
    assert as_json.json["version_summary"] == {"v-one": 2}


def test_instances(deployed: World) -> None:
    ran, as_json = (
        deployed.release("instances", "user-service"),
        deployed.release("instances", "user-service", "--json"),
    )

    assert "instance-1  127.0.0.1  8001  unknown  v-one" in ran.out
    assert "2 instances" in ran.out
    assert as_json.json["total"] == 2


def test_status(deployed: World) -> None:
    ran, as_json = deployed.release("status", "first"), deployed.release("status", "first", "--json")

    assert "deploy first: user-service v-one: completed" in ran.out
    assert as_json.json["deploy_id"] == "first"


def test_logs(deployed: World) -> None:
    ran, as_json = (
        deployed.release("logs", "first", "--instance", "instance-1"),
        deployed.release("logs", "first", "--json"),
    )

    assert ran.status == 0, ran
    assert "instance-1 before_switch stdout: preparing v-one" in ran.out
    assert "instance-2" not in ran.out
    lines = [json.loads(line) for line in as_json.out.splitlines()]
    assert {line["instance_id"] for line in lines} >= {"instance-1", "instance-2"}
    last = deployed.release("logs", "first", "--tail", "1", "--json")
    assert json.loads(last.out) == lines[-1]


def test_logs_are_followed_to_the_end(deployed: World) -> None:
    url = deployed.lab.add_package("v-followed")
    deployed.lab.package_host.behave("v-followed.tar.gz", Behaviour(silent_seconds=1.0))
    deployed.release("deploy", "user-service", "v-followed", "--package-url", url, "--all", "--id", "followed")

    ran = deployed.release("logs", "followed", "-f")

    assert ran.status == 0, ran
    assert "instance-2 before_switch stdout: preparing v-followed" in ran.out
    assert deployed.release("status", "followed", "--json").json["status"] == "completed"


def test_what_was_cancelled_is_tried_again_and_rolled_back(deployed: World) -> None:
    url = deployed.slow_package("v-again")
    deployed.release("deploy", "user-service", "v-again", "--package-url", url, "--all", "--id", "again")

    cancelled = deployed.release("cancel", "again", "--wait", "--json")
    deployed.lab.package_host.behave("v-again.tar.gz", GOOD)
    tried_again = deployed.release("retry", "again", "--wait")
    back = deployed.release("rollback", "user-service", "--to", "v-one", "--from", "v-again", "--wait", "--json")

    assert (cancelled.status, cancelled.json["status"]) == (2, "cancelled")
    assert tried_again.status == 0, tried_again
    assert "attempt 2 started" in tried_again.err
    assert back.status == 0, back
    assert [(each["version"], each["source"]) for each in back.json["instances"]] == [("v-one", "node")] * 2


def test_a_deploy_is_kept_when_it_is_confirmed(deployed: World) -> None:
    url = deployed.lab.add_package("v-kept")
    arguments = ("deploy", "user-service", "v-kept", "--package-url", url, "--all", "--id", "kept")
    deploy = deployed.start(*arguments, "--confirm-within", "60", "--wait")
    assert deploy.stderr is not None
    for line in deploy.stderr:
        if "waits to be confirmed until" in line:
            break

    wait_until(lambda: deployed.release("confirm", "kept").status == 0, what="confirmation", seconds=20)
    ran = ended(deploy)

    assert "release confirm kept" in line
    assert ran.status == 0, ran
    assert "deploy kept: user-service v-kept: completed" in ran.out


def test_sync(deployed: World) -> None:
    ran = deployed.release("sync", "user-service", "--json")

    assert ran.status == 0, ran
    assert ran.json["service"] == "user-service"


def test_versions_tell_of_a_link_that_leads_elsewhere(deployed: World) -> None:
    current = Path(deployed.lab.instances[0].deploy_root, "current")
    ours = os.readlink(current)

    with leading_to("releases/elsewhere", current):
        wait_until(lambda: drift_after_a_sync(deployed) == "link", what="drift", seconds=20)
        shown = deployed.release("versions", "user-service").out
    wait_until(lambda: drift_after_a_sync(deployed) is None, what="end of drift", seconds=20)

    assert f"link, expected {ours.removeprefix('releases/')}" in shown


@contextmanager
def leading_to(release: str, link: Path) -> Iterator[None]:
    before = os.readlink(link)
    link.unlink()
    link.symlink_to(release)
    try:
        yield
    finally:
        link.unlink()
        link.symlink_to(before)


def drift_after_a_sync(world: World) -> str | None:
    world.release("sync", "user-service")
    time.sleep(0.3)
    drift: str | None = world.release("versions", "user-service", "--json").json["instances"][0]["drift"]
    return drift


def test_hold_and_unhold(deployed: World, client: Client) -> None:
    ran = deployed.release("hold", "user-service", "--reason", "disk is full", "--json")
    assert ran.status == 0, ran
    assert (ran.json["held"], ran.json["reason"]) == (True, "disk is full")
    url = deployed.lab.add_package("v-held")

    refused = deployed.release("deploy", "user-service", "v-held", "--package-url", url, "--all", "--wait")
    shown = deployed.release("hold", "user-service", "--show")
    released = deployed.release("unhold", "user-service")

    assert refused.status == 4, refused
    assert "disk is full" in refused.err
    assert "[service_held]" in refused.err
    assert "disk is full" in shown.out
    assert "user-service is not held" in released.out
    assert client.hold_of("user-service")["held"] is False


def test_no_reason_no_hold(deployed: World, client: Client) -> None:
    ran = deployed.release("hold", "user-service")

    assert ran.status == 4, ran
    assert "--reason" in ran.err
    assert client.hold_of("user-service")["held"] is False


def test_a_rollback_that_holds(deployed: World, client: Client) -> None:
    assert client.hold_of("user-service")["held"] is False

    ran = deployed.release("rollback", "--instance", "instance-1", "--to", "v-one", "--hold", "--wait")

    assert ran.status == 0, ran
    assert client.hold_of("user-service")["held"] is True
    client.unhold("user-service")


def test_the_same_from_python(deployed: World, client: Client) -> None:
    started = client.roll_back("user-service", "v-one", instances=["instance-2"])
    operation = client.wait(started["rollback_id"], "rollback", timeout=60)

    assert operation["status"] == "completed"
    with pytest.raises(Refused) as refused:
        client.deploy("nothing", "v1", ["a", "b"], "http://127.0.0.1/x.tgz")
    assert refused.value.status == 404


def test_what_a_command_printed_steers_no_terminal() -> None:
    assert plain("\x1b[31mred\x9b2J\a\tend\n") == "\ufffd[31mred\ufffd2J\ufffd\tend\n"
