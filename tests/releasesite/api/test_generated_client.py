"""A client generated from /v1/schema is typed to the end, and a scheduler written with it comes through lost answers."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from pytest_django.plugin import DjangoDbBlocker

from deploys.models import Operation
from inventory.models import Instance
from tests.client.flaky_http import Fault, FlakyHttp, flaky_http
from tests.support.api import caller, new_token
from tests.support.lab import Lab, check_invariants
from tests.support.package_host import serving
from tests.support.private_postgres import default_database, private_postgres
from tests.support.web import running_web
from tests.support.worker import running_worker

pytestmark = pytest.mark.timeout(180)

SCHEDULER = Path(settings.BASE_DIR) / "tests/support/canary_scheduler.py"
# What happens to the calls of a roll-out's three deploys until each has its answer.
LOST = (Fault.CUT_BEFORE, Fault.CUT_AFTER, None), (Fault.CUT_AFTER, Fault.CUT_IN_ANSWER, None), (Fault.CUT_IN_ANSWER,)


@dataclass(frozen=True, kw_only=True)
class World:
    lab: Lab
    proxy: FlakyHttp
    scheduler: Any
    client: Any

    def roll_out(self, version: str, **changes: Any) -> list[str]:
        self.proxy.faults[:] = [fault for faults in LOST for fault in faults]
        wanted = {"service": "user-service", "version": version, "size": 2, **changes}
        return self.scheduler.roll_out(self.client, **wanted)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package `release_api` lies in."""
    return tmp_path_factory.mktemp("generated")


@pytest.fixture(scope="module")
def world(
    django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory, generated: Path
) -> Iterator[World]:
    with ExitStack() as stack:
        postgres = stack.enter_context(private_postgres())
        stack.enter_context(django_db_blocker.unblock())
        stack.enter_context(default_database(postgres.url))
        package_host = stack.enter_context(serving(tmp_path_factory.mktemp("packages")))
        lab = Lab.build(tmp_path_factory.mktemp("lab"), package_host, count=5)
        stack.enter_context(running_worker(lab.environment))
        web = stack.enter_context(running_web(**lab.environment))
        proxy = stack.enter_context(flaky_http(web.url))
        generate(caller("read").get("/v1/schema").json(), generated)
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.syspath_prepend(str(generated))
        scheduler: Any = importlib.import_module("tests.support.canary_scheduler")
        client = scheduler.AuthenticatedClient(base_url=proxy.url, token=new_token(), timeout=20.0)
        yield World(lab=lab, proxy=proxy, scheduler=scheduler, client=client)


def generate(document: dict[str, Any], folder: Path) -> None:
    (folder / "openapi.json").write_text(json.dumps(document))
    # Nothing is to be tidied up; what the generator can't make something of is an error.
    (folder / "config.yaml").write_text("post_hooks: []")
    options = ("--path=openapi.json", "--config=config.yaml", "--meta=none", "--output-path=release_api")
    run("openapi_python_client", "generate", "--fail-on-warning", *options, cwd=folder)


def run(module: str, *arguments: str, cwd: Path, **variables: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def restarts(instance: Instance, version: str) -> int:
    return Path(instance.deploy_root, "restarts.txt").read_text().splitlines().count(version)


def test_a_canary_and_batches_come_through_a_proxy_that_cuts_connections(world: World) -> None:
    deploys = world.roll_out("v1", package_url=world.lab.add_package("v1"))

    assert deploys == ["v1-part-0", "v1-part-1", "v1-part-2"]
    assert len(world.proxy.bodies) == sum(map(len, LOST)) + 1
    assert sorted(Operation.objects.values_list("public_id", flat=True)) == deploys
    assert [restarts(instance, "v1") for instance in world.lab.instances] == [1] * 5
    check_invariants(world.lab.instances)


def test_a_canary_that_fails_stops_the_others_and_says_why_by_its_type(world: World) -> None:
    with pytest.raises(world.scheduler.Stopped) as stopped:
        world.roll_out("v2", package_url=world.lab.add_package("v2", broken=True))

    assert stopped.value.errors == ["command_failed"]
    assert not Operation.objects.filter(public_id="v2-part-1").exists()
    assert set(Instance.objects.values_list("running_version", flat=True)) <= {"v1", ""}


def test_every_refusal_names_its_instances_by_their_types(world: World) -> None:
    wanted = world.scheduler.Execute(
        service="user-service", version="v3", instances=["instance-1", "nobody", "instance-1"], package_url="http://p/x"
    )

    with pytest.raises(world.scheduler.Refused) as refused:
        world.scheduler.deploy(world.client, wanted)

    assert refused.value.codes == [("duplicate_instance", "instance-1"), ("instance_not_found", "nobody")]


def test_the_types_of_the_client_hold_what_the_scheduler_does_with_it(world: World, generated: Path) -> None:
    """Strictly: an enumeration that lacks a value, or a key that may be missing, would be found here."""
    cache = f"--cache-dir={generated / '.mypy_cache'}"
    run("mypy", "--strict", "--config-file=", cache, str(SCHEDULER), cwd=generated, MYPYPATH=str(generated))


@pytest.fixture(autouse=True)
def _nothing_is_left(world: World) -> Iterator[None]:
    yield
    world.proxy.faults.clear()
    world.proxy.bodies.clear()
