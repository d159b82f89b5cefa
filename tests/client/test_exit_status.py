"""`release --wait`: its exit status tells how the operation ended, and its words what to do next."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest
from django.utils import timezone

from deploys.models import Operation
from releasesite.models import ApiToken
from tests.client.world import World, ended
from tests.support.api import new_token
from tests.support.lab import wait_until
from tests.support.package_host import Behaviour
from tests.support.ports import free_port
from tests.support.tcp_proxy import tcp_proxy

pytestmark = pytest.mark.timeout(180)

COMPLETED, FAILED, CANCELLED, NOT_KNOWN, REFUSED = range(5)


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[World]:
    """The deploy `held-up` of both instances, which waits for its package until it is cancelled."""
    url = world.slow_package("v-slow")
    started = world.release("deploy", "user-service", "v-slow", "--package-url", url, "--all", "--id", "held-up")
    assert started.status == 0, started
    yield world
    if Operation.objects.get(public_id="held-up").finished_at is None:
        world.release("cancel", "held-up", "--wait")


def waiting(world: World, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """A process that has seen `held-up` in progress, and waits for its end."""
    process = world.start("status", "held-up", "--wait", *arguments, **variables)
    assert process.stderr is not None
    assert "in_progress" in process.stderr.readline()
    return process


def test_completed(world: World) -> None:
    url = world.lab.add_package("v1")

    ran = world.release("deploy", "user-service", "v1", "--package-url", url, "--all", "--id", "good", "--wait")

    assert ran.status == COMPLETED, ran
    assert "completed: 2 of 2 completed" in ran.err
    assert "deploy good: user-service v1: completed" in ran.out


def test_on_a_terminal_a_bar_shows_the_progress(world: World) -> None:
    """And a package host that is slow for a second, for there to be some."""
    url = world.lab.add_package("v-bar")
    world.lab.package_host.behave("v-bar.tar.gz", Behaviour(silent_seconds=1.0))

    shown = world.on_a_terminal("deploy", "user-service", "v-bar", "--package-url", url, "--all", "--wait")

    assert "in_progress" in shown
    assert "0 of 2 completed" in shown
    assert "━" in shown
    assert "user-service v-bar: completed" in shown.splitlines()[-4]


def test_failed(world: World) -> None:
    url = world.lab.add_package("v-bad", broken=True)

    ran = world.release("deploy", "user-service", "v-bad", "--package-url", url, "--instance", "instance-1", "--wait")

    assert ran.status == FAILED, ran
    assert "instance-1 failed in step restart" in ran.err
    assert "[command_failed] It went back." in ran.out


def test_a_rollback_that_completed(world: World) -> None:
    url = world.lab.add_package("v2")
    world.release("deploy", "user-service", "v2", "--package-url", url, "--instance", "instance-2", "--wait")

    ran = world.release("rollback", "--instance", "instance-2", "--wait", "--json")

    assert ran.status == COMPLETED, ran
    assert ran.json["status"] == "completed"
    assert ran.json["instances"][0]["source"] == "node"


def test_not_known_when_time_runs_out(running: World) -> None:
    ran = running.release("status", "held-up", "--wait", "--timeout", "0.5")

    assert ran.status == NOT_KNOWN, ran
    assert "still going on when time ran out" in ran.err
    assert "Ask again: release status held-up --kind deploy --wait" in ran.err


def test_not_known_when_the_server_dies(running: World) -> None:
    with tcp_proxy(running.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        process = waiting(running, "--retry-for", "1", RELEASE_URL=url)
        proxy.close()
        ran = ended(process)

    assert ran.status == NOT_KNOWN, ran
    assert f"No answer to GET {url}/v1/deploy/status/held-up within 1 s" in ran.err
    assert "Ask again: release status held-up --kind deploy --wait" in ran.err


def test_not_known_when_it_may_not_ask_any_more(running: World) -> None:
    process = waiting(running, RELEASE_TOKEN=new_token("read"))
    ApiToken.objects.filter(scope="read").update(revoked_at=timezone.now())
    ran = ended(process)

    assert ran.status == NOT_KNOWN, ran
    assert "can't be asked any more" in ran.err
    assert "answered 401" in ran.err


def test_not_known_when_no_server_was_ever_there(world: World) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    arguments = ("deploy", "user-service", "v1", "--package-url", "http://x/y.tgz", "--instance", "instance-1")

    ran = world.release(*arguments, "--wait", "--retry-for", "0", "--url", nowhere, "--json")

    assert ran.status == NOT_KNOWN, ran
    assert ran.json["errors"][0]["code"] == "not_known"
    assert "Connection refused" in ran.err


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_that_the_deploy_goes_on(running: World, stop: signal.Signals) -> None:
    process = waiting(running)
    process.send_signal(stop)
    ran = ended(process)

    assert ran.status == NOT_KNOWN, ran
    assert "The deploy held-up goes on." in ran.err
    assert "Ask again: release status held-up --kind deploy --wait" in ran.err


def test_refused_as_busy_names_the_holder(running: World) -> None:
    url = running.lab.add_package("v3")

    ran = running.release("deploy", "user-service", "v3", "--package-url", url, "--all", "--wait")

    assert ran.status == REFUSED, ran
    assert "[instance_busy]" in ran.err
    assert "held-up" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--instance", "instance-9"), "instance-9"),
        (("--instance", "instance-1", "--sha256", "xyz"), "[invalid_sha256]"),
        ((), "Give --instance ID, once for each, or --all"),
        (("--instance", "instance-1", "--until", "tomorrow"), "tomorrow"),
        (("--instance", "instance-1", "--token", "unknown"), "RELEASE_TOKEN_FILE or --token-file"),
        (("--instance", "instance-1", "--token-file", "/nowhere"), "/nowhere can't be read: No such file"),
        (("--instance", "instance-1", "--url", "example.com"), "https://releases.example.com"),
    ],
)
def test_refused(world: World, arguments: tuple[str, ...], said: str) -> None:
    ran = world.release(
        "deploy", "user-service", "v4", "--package-url", "http://127.0.0.1/v4.tgz", "--id", "no", "--wait", *arguments
    )

    assert ran.status == REFUSED, ran
    assert said in ran.err
    assert not Operation.objects.filter(public_id="no").exists()


def test_refused_to_whom_may_only_read(world: World) -> None:
    reader = new_token("read")

    ran = world.release("cancel", "good", "--kind", "deploy", "--wait", RELEASE_TOKEN=reader)

    assert ran.status == REFUSED, ran
    assert "[scope_missing]" in ran.err
    assert reader not in ran.err


def test_an_unknown_id_is_refused(world: World) -> None:
    ran = world.release("status", "nothing", "--wait")

    assert ran.status == REFUSED, ran
    assert "no deploy and no rollback nothing" in ran.err


def test_cancelled(running: World) -> None:
    process = waiting(running)

    ran = running.release("cancel", "held-up")

    assert ran.status == COMPLETED, ran
    assert ended(process).status == CANCELLED
    wait_until(lambda: Operation.objects.get(public_id="held-up").finished_at is not None, what="end", seconds=10)
