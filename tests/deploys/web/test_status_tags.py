"""The ETag of a status: told without reading its targets, and another one as soon as anything in the answer is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from deploys.models import Operation, Package, Target
from deploys.operations.finish import finalize_finished
from deploys.operations.retry import RetryRequest, retry_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind, TargetStatus
from deploys.told import Told, stored
from inventory.models import Instance, Service
from tests.support.api import caller
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service

STATUS = "/v1/deploy/status/d"
FAILED = stored([Told("Nothing was changed, as asked for (until: checked).")])

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scheduler() -> APIClient:
    return caller("read")


@pytest.fixture
def instances() -> list[Instance]:
    return make_instances(make_service(), make_node())


@pytest.fixture
def deploy(instances: list[Instance]) -> Operation:
    request = DeployRequest(
        service="user-service", version="v2", instances=tuple(ids(instances)), package_url="http://p/x", deploy_id="d"
    )
    return start_deploy(access=SCHEDULER, request=request)


def ended(deploy: Operation) -> None:
    now = timezone.now()
    message, told = FAILED
    done = {"status": TargetStatus.COMPLETED, "step": "done", "finished_at": now, "updated_at": now}
    failure = {"status": TargetStatus.FAILED, "error_code": "command_failed", "error_message": message}
    deploy.targets.update(**done)
    deploy.targets.filter(instance__instance_id="instance-1").update(**failure, error_told=told)
    finalize_finished([deploy.pk])


def ask(client: APIClient, tag: str = "", *, language: str = "en") -> Any:
    return client.get(STATUS, headers={"if-none-match": tag, "accept-language": language})


def is_read_from_targets(client: APIClient, tag: str) -> bool:
    with CaptureQueriesContext(connection) as queries:
        assert ask(client, tag).status_code == 304
    return any("error_told" in query["sql"] for query in queries)


def cheap_tag(client: APIClient) -> str:
    """There is none while some transaction, of whichever test on this server, is in progress."""
    deadline = time.monotonic() + 20
    while is_read_from_targets(client, tag := str(ask(client).headers["ETag"])):
        assert time.monotonic() < deadline, "the targets are read again and again"
    return tag


def changes_of(deploy: Operation, instance: Instance) -> Iterator[tuple[str, Callable[[], object]]]:
    targets = Target.objects.filter(operation=deploy, instance=instance)
    later = timezone.now().replace(year=2031)

    def another_owner() -> None:
        Instance.objects.filter(pk=instance.pk).update(service=Service.objects.create(name="other"))

    yield "a worker's claim", lambda: targets.update(status="in_progress", lease=None, started_at=later)
    for name, value in (("step", "switch"), ("updated_at", later), ("confirm_by", later), ("source", "node")):
        yield name, partial(targets.update, **{name: value})
    yield "a log line", lambda: Operation.objects.filter(pk=deploy.pk).update(
        log_seq=1, updated_at=later.replace(year=2032))  # fmt: skip
    yield "its end", lambda: ended(deploy)
    yield "what runs", lambda: Instance.objects.filter(pk=instance.pk).update(running_version="v9")
    yield "its name", lambda: Instance.objects.filter(pk=instance.pk).update(instance_id="instance-0")
    yield "the service's name", lambda: Service.objects.update(name="shop")
    yield "its package", lambda: Operation.objects.update(package=Package.objects.create(
        service=deploy.service, version="v2", url="http://p/x", sha256="a" * 64, size_bytes=1, release="v2"))  # fmt: skip
    yield "the package's size", lambda: Package.objects.update(size_bytes=2)
    yield "a retry", lambda: retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id="d", request=RetryRequest())
    yield "the retry's end", lambda: ended(deploy)
    yield "another service's instance", another_owner
    yield "what runs there", lambda: Instance.objects.filter(pk=instance.pk).update(running_version="v10")


def test_whatever_the_answer_shows_changes_its_tag(
    scheduler: APIClient, deploy: Operation, instances: list[Instance]
) -> None:
    for what, change in changes_of(deploy, instances[0]):
        before = ask(scheduler)
        change()
        after = ask(scheduler, before.headers["ETag"])
        assert what == "another service's instance" or before.content != after.content, f"{what} is not shown"
        assert (after.status_code, after.headers["ETag"] != before.headers["ETag"]) == (200, True), what


def test_it_takes_the_readers_language(scheduler: APIClient, deploy: Operation) -> None:
    ended(deploy)
    english = cheap_tag(scheduler)
    assert ask(scheduler, english, language="zh-hans").status_code == 200


@pytest.mark.parametrize("is_ended", [False, True])
def test_what_has_not_changed_is_told_without_its_targets(
    scheduler: APIClient, deploy: Operation, instances: list[Instance], is_ended: bool
) -> None:
    if is_ended:
        ended(deploy)
    tag = cheap_tag(scheduler)
    # What the answer does not show: a node's own report, and a sync.
    Instance.objects.filter(pk=instances[0].pk).update(health="healthy", reported_at=timezone.now())
    Service.objects.update(synced_at=timezone.now())
    assert cheap_tag(scheduler) == tag


def test_a_change_that_began_before_the_newest_one_and_commits_after_it_is_seen(
    scheduler: APIClient, deploy: Operation, instances: list[Instance]
) -> None:
    ended(deploy)
    slow = connections["default"].copy()
    try:
        slow.set_autocommit(False)
        with slow.cursor() as cursor:
            cursor.execute("UPDATE inventory_instance SET running_version = 'v7' WHERE id = %s", [instances[0].pk])
        Instance.objects.filter(pk=instances[1].pk).update(running_version="v8")
        tag = ask(scheduler).headers["ETag"]
        slow.commit()
        again = ask(scheduler, tag)
    finally:
        slow.close()
    assert again.status_code == 200
    assert again.json()["instances"][0]["version"] == "v7"


def test_who_may_not_see_the_service_is_not_told_that_nothing_changed(scheduler: APIClient, deploy: Operation) -> None:
    tag = cheap_tag(scheduler)
    other = caller("read", services=[Service.objects.create(name="other")])
    assert ask(other, tag).status_code == 404
