"""A call whose answer is lost is sent again, and what it asks for happens once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.models import Operation
from tests.client.flaky_http import Fault, FlakyHttp, flaky_http
from tests.client.world import World
from tests.support.lab import check_invariants
from tests.support.tcp_proxy import tcp_proxy

pytestmark = pytest.mark.timeout(180)

VERSIONS = itertools.count(1)


@pytest.fixture
def flaky(world: World) -> Iterator[FlakyHttp]:
    with flaky_http(world.url) as proxy:
        yield proxy


@pytest.fixture
def deploy(world: World) -> tuple[str, ...]:
    """The arguments of a deploy of a version of its own."""
    version = f"v-lost-{next(VERSIONS)}"
    url = world.lab.add_package(version)
    return ("deploy", "user-service", version, "--package-url", url, "--instance", "instance-1", "--wait")


def restarts(world: World, version: str) -> int:
    return Path(world.lab.instances[0].deploy_root, "restarts.txt").read_text().splitlines().count(version)


@pytest.mark.parametrize(
    "faults",
    [
        (Fault.CUT_BEFORE,),
        (Fault.CUT_AFTER, Fault.CUT_AFTER),
        (Fault.CUT_IN_ANSWER,),
        (429, 502, Fault.CUT_AFTER, 503, 504),
    ],
    ids=str,
)
def test_a_deploy_is_started_once(
    world: World, deploy: tuple[str, ...], flaky: FlakyHttp, faults: tuple[Fault | int, ...]
) -> None:
    flaky.faults.extend(faults)

    ran = world.release(*deploy, RELEASE_URL=flaky.url)

    assert ran.status == 0, ran
    assert len(flaky.bodies) == len(faults) + 1
    assert len(set(flaky.bodies)) == 1
    assert Operation.objects.filter(version=deploy[2]).count() == 1
    assert restarts(world, deploy[2]) == 1
    check_invariants(world.lab.instances)


@pytest.mark.parametrize(
    ("answered", "status", "said"),
    [
        (500, 3, "500 Internal Server Error, not by a release system"),
        (503, 3, "503 Service Unavailable"),
        (429, 4, "send it again in 1 s"),
    ],
)
def test_its_patience_ends(
    world: World, deploy: tuple[str, ...], flaky: FlakyHttp, answered: int, status: int, said: str
) -> None:
    flaky.faults.extend([answered] * 20)

    ran = world.release(*deploy, "--retry-for", "2.5", RELEASE_URL=flaky.url)

    assert ran.status == status, ran
    assert said in ran.err
    assert (len(flaky.bodies) > 1) == (answered != 500)
    assert not Operation.objects.filter(version=deploy[2]).exists()


def test_a_retry_is_one_attempt_though_that_had_failed_before_it_was_sent_again(world: World, flaky: FlakyHttp) -> None:
    url = world.lab.add_package("v-lost-bad", broken=True)
    arguments = ("--package-url", url, "--instance", "instance-1", "--id", "lost-bad", "--wait")
    assert world.release("deploy", "user-service", "v-lost-bad", *arguments).status == 1
    flaky.faults.extend((Fault.CUT_AFTER, 503, 503, 503))

    ran = world.release("retry", "lost-bad", "--wait", "--json", RELEASE_URL=flaky.url)

    assert ran.status == 1, ran
    assert ran.json["attempt"] == 2
    assert len(set(flaky.bodies)) == 1


@pytest.mark.parametrize("sent_bytes", [1, 700])
def test_a_connection_reset_in_or_after_the_request_starts_it_once(
    world: World, deploy: tuple[str, ...], sent_bytes: int
) -> None:
    """After 1 byte the server has the head of the request alone; after 700 all of it, and its answer is lost."""
    with tcp_proxy(world.port) as proxy:
        proxy.cut_after(sent_bytes, once=True)
        ran = world.release(*deploy, RELEASE_URL=f"http://127.0.0.1:{proxy.port}")

    assert ran.status == 0, ran
    assert "trying again" in ran.err
    assert Operation.objects.filter(version=deploy[2]).count() == 1
    assert restarts(world, deploy[2]) == 1
