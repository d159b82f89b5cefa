"""A node that says, whatever it is asked, that a newer claim holds the deploy root: a handful of claims, then a clear end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings

from deploys.models import Operation, Target
from deploys.states import Step
from deploys.worker import claim_limits
from inventory.models import RunStatus
from tests.support.fleet import make_instances, make_node
from tests.support.lab import Lab
from tests.support.lying_node import Answer, Call, LyingNode, Said
from tests.support.package_host import PackageHost

pytestmark = pytest.mark.django_db(transaction=True)

MOST_LINES = 80


@pytest.fixture
def lab(tmp_path: Path, package_host: PackageHost, lying_node: LyingNode, settings: Settings) -> Lab:
    """One instance on the lying node, and one on an honest one."""
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    settings.SSH_KEY_FILE = str(lying_node.private_key)
    honest_one = Lab.build(tmp_path, package_host)
    service = honest_one.instances[0].service
    lied_about = make_instances(service, make_node("n2", **lying_node.node_fields), 1, prefix="lied", root=tmp_path)
    return Lab(instances=(*honest_one.instances, *lied_about), package_host=package_host, faults=honest_one.faults)


def stale(number: int) -> Answer:
    def answer(call: Call) -> Iterable[Said]:
        step = ["step switch"] if call.task == "switch" else []
        return [call.frames("begun", *step, f"error stale {number}", "over")]

    return answer


@pytest.mark.parametrize("number", [0, 1, 5_000])
@pytest.mark.parametrize("task", ["stage", "switch"])
def test_it_ends_after_a_handful_of_claims_and_harms_no_other(
    lab: Lab, lying_node: LyingNode, settle: Callable[[Operation], Target], number: int, task: str
) -> None:
    lying_node.answers[task] = stale(number)
    operation = lab.deploy("v1")

    target = settle(operation)

    assert (target.status, target.error_code) == ("failed", "internal_error")
    assert f"Node 'n2' says that a newer claim, {number}, holds {target.instance.deploy_root}" in target.error_message
    assert "claim.*" in target.error_message
    assert target.claims == claim_limits.MAX_REFUSALS
    assert operation.log_lines.count() < MOST_LINES
    assert (target.instance.run_status == RunStatus.UNKNOWN) == (
        task == "switch" or not target.instance.running_version
    )
    assert operation.targets.exclude(pk=target.pk).get().status == "completed"


@pytest.mark.parametrize("number", [10**8, 10**12, 10**15, 10**18, 10**30])
def test_a_claim_that_was_never_given_out_moves_nobodys(
    lab: Lab, lying_node: LyingNode, settle: Callable[[Operation], Target], number: int
) -> None:
    lying_node.answers["stage"] = stale(number)
    before = last_fence()
    operation = lab.deploy("v1")

    target = settle(operation)

    assert (target.status, target.error_code, target.claims) == ("failed", "internal_error", 1)
    assert last_fence() < before + 100


def test_one_that_says_so_in_a_recovery_ends_too(
    lab: Lab, lying_node: LyingNode, settle: Callable[[Operation], Target]
) -> None:
    operation = lab.deploy("v1", instances=lab.instances[1:])
    settle(operation)
    again = lab.deploy("v2", instances=lab.instances[1:])
    package = operation.targets.get().operation.package
    Operation.objects.filter(pk=again.pk).update(package=package)
    again.targets.update(status="in_progress", step=Step.SWITCH, fence=1, claims=1)
    lying_node.answers["stage"] = stale(1)

    target = settle(again)

    assert (target.status, target.error_code) == ("failed", "internal_error")
    assert target.instance.run_status == RunStatus.UNKNOWN
    assert "What runs there is not known" in target.error_message


@pytest.fixture
def settle(run_work_loop: Callable[[str], None]) -> Callable[[Operation], Target]:
    """Works on it until it has ended, and returns the target on the lying node."""

    def run(operation: Operation) -> Target:
        for _ in range(2 * claim_limits.MAX_REFUSALS):
            run_work_loop("deploys")
            operation.refresh_from_db()
            if operation.finished_at is not None:
                break
            with connection.cursor() as cursor:  # its rest is over
                cursor.execute("UPDATE deploys_target SET updated_at = updated_at - interval '1 hour'")
        assert operation.finished_at is not None
        return operation.targets.select_related("instance").get(instance__node__name="n2")

    return run


def last_fence() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM deploys_fence")
        return int(cursor.fetchone()[0])
