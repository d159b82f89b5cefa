"""What an operation's page says of many that failed alike, and what their commands printed last."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from deploys.models import LogLine, Operation, Target
from deploys.node.session import CommandEnded
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Step, TargetStatus
from deploys.told import Told, to_json
from deploys.web.pages.queries import failures
from deploys.web.pages.queries.failures import ErrorGroup, LastLines, error_groups, last_lines
from deploys.worker import story
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service

pytestmark = pytest.mark.django_db


@pytest.fixture
def operation() -> Operation:
    instances = make_instances(make_service(), make_node(), 12)
    request = DeployRequest(
        service="user-service", version="v2", instances=ids(instances), package_url="http://x/p.tgz"
    )
    return start_deploy(access=SCHEDULER, request=request)


def fail(targets: Iterable[Target], code: str, step: Step, status: int | None = None) -> None:
    for target in targets:
        nested = Told("ended with %(status)s", {"status": status}) if status is not None else Told("was lost")
        told = to_json([Told("On node '%(node)s': %(what)s.", {"node": f"node-{target.pk}", "what": nested})])
        Target.objects.filter(pk=target.pk).update(
            status=TargetStatus.FAILED, step=step, error_code=code, error_told=told, finished_at=Now()
        )


def test_equal_errors_are_counted_by_one_query(
    operation: Operation, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    monkeypatch.setattr(failures, "MOST_NAMES", 3)
    targets = list(operation.targets.order_by("pk"))
    fail(targets[:7], "command_failed", Step.RESTART, 1)
    fail(targets[7:9], "command_failed", Step.RESTART, 127)
    fail(targets[9:10], "node_unreachable", Step.CONNECT)
    with django_assert_num_queries(1):
        groups = error_groups(operation)
    first = ErrorGroup(
        code="command_failed",
        step="restart",
        exit_status="1",
        count=7,
        names=["instance-1", "instance-2", "instance-3"],
    )
    assert groups[0] == first
    assert first.others == 4
    assert [(group.exit_status, group.count) for group in groups[1:]] == [("127", 2), (None, 1)]


@pytest.fixture
def write(operation: Operation) -> Callable[..., int]:
    def write(target: Target, text: str | Told, step: str = "restart", stream: str = "stderr") -> int:
        seq = 1 + LogLine.objects.filter(operation=operation).count()
        told = to_json([text]) if isinstance(text, Told) else None
        LogLine.objects.create(
            operation=operation, seq=seq, at=timezone.now(), instance_id=target.instance_id, step=step,
            stream="system" if told else stream, text=str(text), told=told,
        )  # fmt: skip
        return seq

    return write


def test_the_last_lines_are_those_of_the_newest_run_of_the_failing_command(
    operation: Operation, write: Callable[..., int], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    one, quiet, other = operation.targets.order_by("pk")[:3]
    fail([one, quiet], "command_failed", Step.RESTART, 1)
    begins, back = (story.command_begins(step, timeout_seconds=60) for step in (Step.RESTART, Step.REVERT))
    ended = story.command_ended(Step.RESTART, CommandEnded(exit_status=1, timed_out=False, seconds=0.2))
    for target in (one, quiet):
        write(target, begins)
        write(target, "of the first attempt")
        write(target, ended)
        write(target, begins)
    write(one, "x" * 1000, stream="stdout")
    seqs = [write(one, f"line {number}") for number in range(12)]
    write(one, ended)
    write(one, back, step="revert")
    write(one, "of the way back", step="revert")
    write(other, "of one that goes on")

    one, quiet, other = operation.targets.order_by("pk")[:3]
    with django_assert_num_queries(1):
        found = last_lines(operation, [one, quiet, other])
    assert found == {one.instance_id: LastLines(seq=seqs[2], texts=[f"line {number}" for number in range(2, 12)])}


def test_a_line_is_cut(operation: Operation, write: Callable[..., int]) -> None:
    target = operation.targets.order_by("pk")[0]
    fail([target], "command_failed", Step.RESTART, 1)
    write(target, "x" * 1000)
    target.refresh_from_db()
    (lines,) = last_lines(operation, [target]).values()
    assert lines.texts == ["x" * failures.LONGEST_LINE]
