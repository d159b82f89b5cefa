"""Sentences that are stored and told in the language of whoever reads them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import translation

from deploys.error_codes import ErrorCode
from deploys.models import LogLine, Operation, Target
from deploys.operations.log import write_system_line
from deploys.operations.queries import finished_payload
from deploys.operations.start import DeployRequest, start_deploy
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.states import Step, TargetStatus
from deploys.templatetags.operation_log import log_lines
from deploys.told import Told, said, stored, verbatim
from deploys.told import marked as _
from inventory.actors import SYSTEM
from tests.support.api import caller
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service

ENDED = Told(_("Claim %(fence)s's program has ended; going on."), {"fence": 7})


@pytest.fixture
def line(db: None) -> LogLine:
    make_instances(make_service(), make_node(), 1)
    request = DeployRequest(
        service="user-service", version="v1", instances=("instance-1",), package_url="http://p/x", deploy_id="d"
    )
    operation = start_deploy(access=SCHEDULER, request=request)
    write_system_line(operation.pk, [ENDED, verbatim("token=12345678901234567890 <b>")])
    return LogLine.objects.get(operation=operation)


def test_a_line_is_told_in_the_readers_language_and_read_in_english_by_programs(line: LogLine) -> None:
    assert line.text.startswith("Claim 7's program has ended; going on. token=")

    with translation.override("zh-hans"):
        shown = log_lines([line], None, 1)

    assert "第 7 次认领的程序已结束，继续执行。token=" in shown
    assert "1234567890" not in f"{line.text}{line.told}{shown}"
    assert "&lt;b&gt;" in shown


def test_what_an_older_release_wrote_beside_is_shown_instead_of_what_it_knew_nothing_of(line: LogLine) -> None:
    line.text = "Something else."

    with translation.override("zh-hans"):
        assert "Something else." in log_lines([line], None, 1)


def test_an_error_is_told_in_the_callers_language_and_in_an_event_in_english(line: LogLine) -> None:
    target = line.operation.targets.select_related("operation").get()
    told = (Told(_("On node '%(node)s':"), {"node": "n1"}), Told(_("There is no %(path)s."), {"path": "/srv/x"}))
    code = ErrorCode.SWITCH_FAILED
    apply_moves([Move.of(MovableTarget.of(target), to=TargetStatus.FAILED, actor=SYSTEM, error_code=code, told=told)])

    # A request leaves its language behind.
    with translation.override("zh-hans"):
        asked = caller("read").get("/v1/deploy/status/d", headers={"accept-language": "zh-hans"}).json()
        log = caller("read").get("/v1/deploy/logs/d", headers={"accept-language": "zh-hans"}).json()
        event = finished_payload(Operation.objects.get(public_id="d"))

    assert asked["instances"][0]["error"]["message"] == "在节点“n1”上：/srv/x 不存在。"
    assert event["instances"][0]["error"]["message"] == "On node 'n1': There is no /srv/x."
    assert log["lines"][0]["text"].startswith("第 7 次认领的程序已结束")


@pytest.mark.parametrize("step_seconds", [{}, {"verify": 0.1}, {"verify": 0.1, "confirm": 3}])
def test_an_error_while_its_node_went_back_is_told_at_the_step_that_failed(
    line: LogLine, step_seconds: dict[str, float]
) -> None:
    Target.objects.update(status=TargetStatus.IN_PROGRESS, step=Step.REVERT, step_seconds=step_seconds)
    target = line.operation.targets.select_related("operation").get()
    move = Move.of(MovableTarget.of(target), to=TargetStatus.FAILED, actor=SYSTEM, error_code=ErrorCode.WORKER_LOST)

    apply_moves([move])

    target.refresh_from_db()
    assert target.step == (list(step_seconds) or [Step.RESTART])[-1]


@pytest.mark.parametrize("told", [None, [], [{"text": "%(gone)s", "facts": {}}], {"text": 1}, [1], "x"])
def test_what_is_no_sentence_is_told_by_its_text(told: object) -> None:
    assert said(told, "The text.") == "The text."


def test_a_percent_sign_within_a_fact_is_a_percent_sign() -> None:
    text, told = stored([verbatim("100%(x)s %")])

    assert said(told, text) == text == "100%(x)s %"


def test_every_sentence_in_the_source_is_marked_for_the_catalogue() -> None:
    """One that is not would be English on every page; only a frame without words of its own needs no translation."""
    unmarked = [
        (path.name, str(call.args[0].value))
        for app in ("deploys", "inventory")
        for path in Path(settings.BASE_DIR, app).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Told"
        if call.args and isinstance(call.args[0], ast.Constant)
    ]

    assert unmarked
    assert [found for found in unmarked if re.search("[A-Za-z]", re.sub(r"%\(\w+\)s", "", found[1]))] == []


def test_a_failure_without_a_code_is_refused(line: LogLine) -> None:
    target = line.operation.targets.select_related("operation").get()

    with pytest.raises(ValueError, match="''"):
        Move.of(MovableTarget.of(target), to=TargetStatus.FAILED, actor=SYSTEM, told=(verbatim("x"),))
