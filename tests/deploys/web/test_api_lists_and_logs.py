"""What a list and a log can be asked for, and cursors, which mean nothing to whoever sends them back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from deploys.models import LogLine, Operation
from deploys.operations import queries
from deploys.operations.finish import finalize_finished
from deploys.operations.progress import progress_of
from deploys.operations.start import DeployRequest, start_deploy
from inventory.models import Instance
from tests.support.api import caller
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service

LONG_AGO = timezone.now() - timedelta(days=3)


@pytest.fixture
def fleet(db: None) -> list[Instance]:
    return make_instances(make_service(), make_node(), 5)


@pytest.fixture
def deploys(fleet: list[Instance]) -> dict[str, Operation]:
    """One of each status, by it."""
    statuses = ("pending", "in_progress", "completed", "failed", "cancelled")
    return {status: make_deploy(status, f"instance-{number}") for number, status in enumerate(statuses, start=1)}


def make_deploy(status: str, instance: str) -> Operation:
    request = DeployRequest(
        service="user-service", version="v1", instances=(instance,), package_url="http://p/x", deploy_id=status
    )
    operation = start_deploy(access=SCHEDULER, request=request)
    ended = status not in ("pending", "in_progress")
    operation.targets.update(status=status, finished_at=operation.started_at if ended else None, updated_at=LONG_AGO)
    finalize_finished([operation.pk])
    Operation.objects.update(updated_at=LONG_AGO)
    return operation


def listed(query: str, kind: str = "deploy") -> list[str]:
    answer = caller("read").get(f"/v1/{kind}/list?{query}")
    assert answer.status_code == 200, answer.json()
    return [each[f"{kind}_id"] for each in answer.json()[f"{kind}s"]]


def refused(path: str) -> list[tuple[str, str]]:
    answer = caller("read").get(path)
    assert answer.status_code == 400
    return [(error["attr"], error["code"]) for error in answer.json()["errors"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=failed", ["failed"]),
        ("status=pending", ["pending"]),
        ("status=failed&status=cancelled", ["cancelled", "failed"]),
        ("status=cancelled,failed", ["cancelled", "failed"]),
        ("status=pending,in_progress", ["in_progress", "pending"]),
        ("status=pending,completed&status=failed", ["failed", "completed", "pending"]),
        ("status=failed,failed", ["failed"]),
    ],
)
def test_a_list_takes_several_statuses(deploys: dict[str, Operation], query: str, expected: list[str]) -> None:
    assert listed(query) == expected


@pytest.mark.parametrize("query", ["status=", "status=done", "status=failed,", "status=failed&status=x"])
def test_it_takes_no_others(db: None, query: str) -> None:
    assert {code for _, code in refused(f"/v1/deploy/list?{query}")} == {"invalid_choice"}


def test_what_has_gone_on_since_it_was_found_is_not_listed(
    deploys: dict[str, Operation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two statements of a list a worker claims the deploy."""

    def claim_and_count(operations: list[Operation]) -> Any:
        deploys["pending"].targets.update(status="in_progress")
        return progress_of(operations)

    monkeypatch.setattr(queries, "progress_of", claim_and_count)

    assert listed("status=pending") == []
    assert sorted(listed("status=in_progress")) == ["in_progress", "pending"]


def test_a_list_tells_what_has_changed_since(deploys: dict[str, Operation]) -> None:
    since = (timezone.now() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert listed(f"updated_after={since}") == []

    deploys["in_progress"].targets.update(updated_at=timezone.now())
    Operation.objects.filter(public_id="failed").update(updated_at=timezone.now())

    assert listed(f"updated_after={since}") == ["failed", "in_progress"]
    assert listed(f"updated_after={since}&status=failed") == ["failed"]
    assert listed(f"updated_after={since.replace('Z', '%2B00:00')}") == ["failed", "in_progress"]
    assert listed(f"updated_after={since}", "rollback") == []


@pytest.mark.parametrize("moment", ["", "yesterday", "2024-13-01", "1705314600", "0001-01-01T00:00:00%2B23:59"])
def test_it_takes_a_whole_moment_alone(db: None, moment: str) -> None:
    [(attr, _)] = refused(f"/v1/deploy/list?updated_after={moment}")
    assert attr == "updated_after"


@pytest.fixture
def log(fleet: list[Instance]) -> Operation:
    """Ten lines, the even ones of instance-2."""
    operation = make_deploy("completed", "instance-2")
    LogLine.objects.bulk_create(
        LogLine(
            operation=operation,
            seq=number,
            at=operation.started_at,
            text=str(number),
            instance=None if number % 2 else fleet[1],
        )
        for number in range(1, 11)
    )
    return operation


def lines(query: str) -> tuple[list[str], str, bool]:
    answer = caller("read").get(f"/v1/deploy/logs/completed?{query}").json()
    return [line["text"] for line in answer["lines"]], answer["next"], answer["finished"]


def test_a_log_gives_its_last_lines(log: Operation) -> None:
    assert lines("tail=3") == (["8", "9", "10"], "10", True)
    assert lines("tail=2&instance=instance-2") == (["8", "10"], "10", True)
    assert lines("tail=99") == ([str(number) for number in range(1, 11)], "10", True)
    assert lines("tail=3&after=9") == (["10"], "10", True)
    assert lines("limit=3") == (["1", "2", "3"], "3", False)


def test_from_the_last_lines_on_nothing_is_lost(log: Operation) -> None:
    _, cursor, _ = lines("tail=1")
    LogLine.objects.create(operation=log, seq=11, at=log.started_at, text="11")

    assert lines(f"after={cursor}") == (["11"], "11", True)


@pytest.mark.parametrize("query", ["tail=0", "tail=-1", "tail=x", "tail=5001"])
def test_it_takes_a_number_of_lines_alone(log: Operation, query: str) -> None:
    [(attr, _)] = refused(f"/v1/deploy/logs/completed?{query}")
    assert attr == "tail"


def test_cursors_are_strings_both_ways(deploys: dict[str, Operation]) -> None:
    document = caller("read").get("/v1/schema").json()["paths"]
    for path, name in (
        ("/v1/deploy/list", "cursor"),
        ("/v1/rollback/list", "cursor"),
        ("/v1/deploy/logs/{deploy_id}", "after"),
        ("/v1/rollback/logs/{rollback_id}", "after"),
        ("/v1/instance/{instance_id}/history", "cursor"),
    ):
        parameters = {each["name"]: each["schema"] for each in document[path]["get"]["parameters"]}
        assert parameters[name]["type"] == "string"

    page = caller("read").get("/v1/deploy/list?limit=2").json()
    assert isinstance(page["next"], str)
    assert listed(f"limit=2&cursor={page['next']}") == ["completed", "in_progress"]


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "0x1", "9" * 19, "9" * 5000, "%D9%A1", " 1"])
def test_what_is_no_cursor_of_ours_is_refused(deploys: dict[str, Operation], cursor: str) -> None:
    assert refused(f"/v1/deploy/list?cursor={cursor}") == [("cursor", "invalid_cursor")]
    assert refused(f"/v1/deploy/logs/pending?after={cursor}") == [("after", "invalid_cursor")]
