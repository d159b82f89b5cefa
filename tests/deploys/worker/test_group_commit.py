"""What waits for whom in the group commit: a permit for no line, a line for the end of a quick switch, but not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from django.db import connection

from deploys.models import LogLine
from deploys.operations.start import DeployRequest, start_deploy
from deploys.operations.transitions import Move
from deploys.states import Kind, Step, TargetStatus
from deploys.worker import group_commit
from deploys.worker.assignment import Assignment
from deploys.worker.batch import StepChange
from deploys.worker.claims import claim
from deploys.worker.group_commit import GroupCommitWriter
from deploys.worker.leases import create_lease
from deploys.worker.switch_permits import Granted, SwitchRequest
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def assignment() -> Iterator[Assignment]:
    make_instances(make_service(), make_node(), 1)
    request = DeployRequest(
        service="user-service", version="v1", instances=("instance-1",), package_url="http://p/x", deploy_id="d"
    )
    start_deploy(access=SCHEDULER, request=request)
    yield claim(kind=Kind.DEPLOY, lease_id=create_lease("worker-1", "deploys").pk, max_nodes=1)[0][0]
    group_commit._thread.submit(lambda: connection.close()).result()


def say(writer: GroupCommitWriter, assignment: Assignment, text: str) -> None:
    writer.line(
        operation_id=assignment.operation_id,
        target_id=assignment.target_id,
        instance_id=assignment.instance_pk,
        text=text,
    )


async def ask_to_switch(writer: GroupCommitWriter, assignment: Assignment) -> None:
    permit = await writer.permit_switch(
        SwitchRequest(
            target_id=assignment.target_id, fence=assignment.fence, operation_id=assignment.operation_id, seconds={}
        )
    )
    assert isinstance(permit, Granted)


async def end(writer: GroupCommitWriter, assignment: Assignment) -> None:
    done = StepChange(target_id=assignment.target_id, fence=assignment.fence, step=Step.DONE, seconds={})
    move = Move.of(assignment.as_claimed, to=TargetStatus.COMPLETED, actor=assignment.actor, step=Step.DONE)
    assert await writer.move(replace(move, fence=assignment.fence), last_step=done)


def transaction_of(table: str, condition: str = "true") -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT string_agg(DISTINCT xmin::text, ',') FROM {table} WHERE {condition}")
        return str(cursor.fetchone()[0])


async def in_its_thread(table: str) -> str:
    """`transaction_of` it, over the writer's own connection."""
    return await asyncio.get_running_loop().run_in_executor(group_commit._thread, transaction_of, table)


def with_writer(work: Callable[[GroupCommitWriter], object]) -> None:
    async def main() -> None:
        writer = GroupCommitWriter()
        writer.start()
        await work(writer)  # type: ignore[misc]
        await writer.close()

    asyncio.run(main())


def test_a_permit_is_committed_without_the_lines_before_it(assignment: Assignment) -> None:
    permitted = []

    async def work(writer: GroupCommitWriter) -> None:
        say(writer, assignment, "begins")
        await ask_to_switch(writer, assignment)
        permitted.append(await in_its_thread("deploys_target"))

    with_writer(work)
    assert transaction_of("deploys_logline") not in ("None", permitted[0])


def test_the_lines_of_a_quick_switch_are_committed_with_its_end(
    assignment: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "GATHER_SECONDS", 60)

    async def work(writer: GroupCommitWriter) -> None:
        for text in ("linked", "restarted"):
            say(writer, assignment, text)
            await asyncio.sleep(0.05)
        await end(writer, assignment)

    with_writer(work)
    assert transaction_of("deploys_logline") == transaction_of("deploys_target") == transaction_of("deploys_operation")
    assert list(LogLine.objects.order_by("seq").values_list("text", flat=True)) == ["linked", "restarted"]


def test_a_line_that_nothing_follows_is_committed_all_the_same(assignment: Assignment) -> None:
    async def work(writer: GroupCommitWriter) -> None:
        say(writer, assignment, "waiting")
        async with asyncio.timeout(20):
            while await in_its_thread("deploys_logline") == "None":
                await asyncio.sleep(0.02)

    with_writer(work)
