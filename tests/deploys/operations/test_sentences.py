"""What became of a target, in words: every end that it can come to has its sentence, and each says what is so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from django.utils import translation

from deploys.error_codes import ErrorCode
from deploys.node.session import Switch
from deploys.operations.fates import Fate, TargetFacts, fate_of, fates
from deploys.operations.sentences import OperationFacts, operation_details, operation_sentence, target_sentences
from deploys.states import Kind, OperationStatus, Step, StopReason, TargetStatus, Until
from deploys.worker.assignment import Assignment, Confirmation, PinnedPackage, ServiceRules
from deploys.worker.outcomes import Outcome, switch_ended
from inventory.actors import SYSTEM
from inventory.models import Delivery, RunStatus
from inventory.nodes.state import Reading
from inventory.nodes.transports.base import NodeAddress

PACKAGE = [code for code in ErrorCode if code.startswith("package_")]
REACHING = [code for code in ErrorCode if code.startswith(("node_", "jump_")) and code not in ("node_disk_full",)]
ANY_STEP = [ErrorCode.WORKER_LOST, ErrorCode.INTERNAL_ERROR]
BEFORE_SWITCH = (Step.QUEUED, Step.FETCH, Step.CONNECT, Step.CHECK, Step.STAGE, Step.BEFORE_SWITCH)
BEHIND = (Step.RESTART, Step.VERIFY, Step.CONFIRM, Step.CLEAN_UP)
ON_NODE = [ErrorCode.NODE_DISK_FULL, ErrorCode.NODE_NOT_WRITABLE, ErrorCode.RELEASE_EXISTS, ErrorCode.SWITCH_FAILED]
WENT_WRONG = (
    (Step.RESTART, (ErrorCode.COMMAND_FAILED, ErrorCode.COMMAND_TIMEOUT, ErrorCode.REVERT_FAILED)),
    (Step.VERIFY, (ErrorCode.VERSION_MISMATCH, ErrorCode.REVERT_FAILED)),
    (Step.CONFIRM, (ErrorCode.NOT_CONFIRMED, ErrorCode.REVERT_FAILED)),
)


def failures() -> Iterator[tuple[Step, bool | None, ErrorCode]]:
    """(step, reverted, code) of each failure that there is."""
    yield from ((Step.FETCH, None, code) for code in PACKAGE)
    yield from product((Step.CONNECT, Step.CHECK, Step.STAGE, Step.BEFORE_SWITCH), (None,), REACHING)
    yield from product((Step.CHECK, Step.STAGE, Step.SWITCH), (None,), ON_NODE)
    yield from (
        (Step.STAGE, None, code) for code in (ErrorCode.PACKAGE_UNREACHABLE, ErrorCode.PACKAGE_CHECKSUM_MISMATCH)
    )
    yield from ((Step.BEFORE_SWITCH, None, code) for code in (ErrorCode.COMMAND_FAILED, ErrorCode.COMMAND_TIMEOUT))
    yield from product(BEFORE_SWITCH, (None,), ANY_STEP)
    yield from product((Step.SWITCH, *BEHIND), (None,), (*ANY_STEP, *REACHING))
    yield from ((Step.CONFIRM, None, code) for code in (ErrorCode.NOT_CONFIRMED,))
    for step, codes in WENT_WRONG:
        yield from product((step,), (True, False), codes)


def cancels() -> Iterator[tuple[Step, bool | None, str]]:
    yield from product(BEFORE_SWITCH, (None,), ("",))
    yield Step.SWITCH, None, ErrorCode.CANCELLED_IN_SWITCH
    yield from product((Step.RESTART, Step.VERIFY, Step.CONFIRM), (True, False), (ErrorCode.CANCELLED_IN_SWITCH,))


def cells() -> Iterator[tuple[TargetFacts, Until]]:
    """Every end of a target, and how far its operation was to go."""
    for until, step in ((Until.CHECKED, Step.CHECK), (Until.STAGED, Step.STAGE), (Until.SWITCHED, Step.DONE)):
        yield TargetFacts(status=TargetStatus.COMPLETED, step=step, reverted=None, code=""), until
    for step, reverted, code in failures():
        yield TargetFacts(status=TargetStatus.FAILED, step=step, reverted=reverted, code=code), Until.SWITCHED
        superseded = TargetFacts(status=TargetStatus.SUPERSEDED, step=step, reverted=reverted, code=code)
        yield superseded, Until.SWITCHED
    for step, reverted, cancel_code in cancels():
        yield TargetFacts(status=TargetStatus.CANCELLED, step=step, reverted=reverted, code=cancel_code), Until.SWITCHED
    for step, reason in product((*BEFORE_SWITCH, Step.CONFIRM, Step.DONE), (StopReason.SUPERSEDE, StopReason.NONE)):
        by_hold = reason == StopReason.NONE
        if not by_hold or step in BEFORE_SWITCH:
            facts = TargetFacts(status=TargetStatus.SUPERSEDED, step=step, reverted=None, code="", stop_reason=reason)
            yield facts, Until.SWITCHED


CELLS = list(dict.fromkeys(cells()))


def told(facts: TargetFacts, until: str = Until.SWITCHED, *, previous: str = "v1") -> str:
    return " ".join(target_sentences(facts, until=until, version="v2", previous=previous))


def test_every_end_is_told_in_both_languages(capsys: pytest.CaptureFixture[str]) -> None:
    for facts, until in CELLS:
        for previous in ("v1", ""):
            english = told(facts, until, previous=previous)
            with translation.override("zh-hans"):
                chinese = told(facts, until, previous=previous)
            assert english, facts
            assert re.search(r"[一-鿿]", chinese), facts
            assert not re.search(r"%\(|[a-z]{3,}", chinese.replace("current", "")), (facts, chinese)
            assert ("v1" in english) <= bool(previous)
    assert len(CELLS) > 200
    with capsys.disabled():
        print(f"\n{len(CELLS)} ends of a target, each with its sentences")


def test_only_an_end_before_the_switch_says_that_nothing_was_switched() -> None:
    for facts, _until in CELLS:
        is_before = facts.step in BEFORE_SWITCH or (facts.step == Step.SWITCH and facts.code in ON_NODE)
        assert ("othing was switched" in told(facts)) == (is_before and facts.status != TargetStatus.COMPLETED), facts
        if facts.step in BEHIND and facts.reverted is None and facts.code:
            assert "is not known" in told(facts), facts


# What the node says of a switch, and what the worker makes of it, against what is told.

SWITCH = Switch(
    fence=2, release="v2", previous="v1", phase="done", is_alive=False, restart_exit=0, timed_out=False, reverted=False
)
NEW, OLD = Reading(release="v2", version="v2"), Reading(release="v1", version="v1")
BROKE: tuple[dict[str, Any], ...] = (
    {"restart_exit": 3},
    {"restart_exit": None, "timed_out": True},
    {"restart_exit": None, "was_stopped": True},
    {"is_mismatch": True, "said": "v1"},
    {"not_confirmed": True},
    {"taken_back": True},
)
BACK: tuple[dict[str, Any], ...] = (
    {"reverted": True, "back": "restarted", "back_exit": 0, "current": OLD},
    {"reverted": True, "back": "restarted", "back_exit": 5, "current": OLD},
    {"reverted": True, "back": "restarted", "back_exit": None, "back_timed_out": True, "current": OLD},
    {"back": "unlinked", "current": NEW},
    {"back": "gone", "current": NEW},
    {"current": NEW, "previous": ""},
    {"current": NEW, "previous": "v2"},
)


def assignment() -> Assignment:
    service = ServiceRules(
        pk=1, name="s", restart_command="x", before_switch_command="", command_timeout_seconds=9, keep_releases=5,
        mutable_versions=False, version_command="x", version_timeout_seconds=3,
    )  # fmt: skip
    node = NodeAddress(name="n1", host="h", transport="ssh", ssh_user="u", ssh_port=22, ssh_host_key="")
    return Assignment(
        target_id=1, fence=2, attempt=1, claims=1, prior_fence=None, prior_step=Step.QUEUED, stop_reason=StopReason.NONE,
        kind=Kind.DEPLOY, until=Until.SWITCHED, confirmation=Confirmation(within_seconds=30), operation_id=1,
        operation_total=1, public_id="d", version="v2", package_url="", package=None, actor=SYSTEM, service=service,
        instance_pk=1, instance_id="i1", port=80, deploy_root="/srv/i1", running_version="v1", running_release="v1",
        running_sha256="", release_history=("v1",), releases_needed=(), is_staged=False, bases=(), fence_of_others=0, node_pk=1,
        node=node, delivery=Delivery.PUSH,
    )  # fmt: skip


def outcomes() -> Iterator[tuple[Switch, Outcome]]:
    package = PinnedPackage(sha256="a" * 64, release="v2")
    for broke, back, was_aborted in product(BROKE, BACK, (False, True)):
        changes: dict[str, Any] = {**broke, **back}
        switch = replace(SWITCH, **changes)
        yield switch, switch_ended(assignment(), package, switch, was_aborted=was_aborted)


def facts_of(outcome: Outcome) -> TargetFacts:
    return TargetFacts(
        status=outcome.status,
        step=outcome.failed_step or Step.RESTART,
        reverted=outcome.reverted,
        code=outcome.error_code,
        stop_reason=StopReason.NONE,
    )


def test_what_a_node_says_of_its_switch_is_what_is_told_of_it() -> None:
    known = {facts for facts, _until in CELLS}
    for switch, outcome in outcomes():
        facts, effect = facts_of(outcome), outcome.effect
        assert replace(facts, stop_reason=StopReason.SUPERSEDE) in known, facts
        assert effect is not None
        text = told(facts)
        leads_to_new = effect.version == "v2" and not outcome.reverted
        assert ("`current` leads to v2" in text) == leads_to_new, (switch, text)
        assert ("leads to what it led to before" in text) == bool(outcome.reverted), (switch, text)
        if facts.code == ErrorCode.REVERT_FAILED:
            assert effect.run_status == RunStatus.UNKNOWN
            assert "what runs is not known" in text
        assert outcome.error_code
        assert outcome.failed_step != Step.REVERT
        assert str(outcome.told[0])


# Operations.

FACTS = OperationFacts(
    kind=Kind.DEPLOY, until=Until.SWITCHED, version="v2", state=OperationStatus.FAILED, total=3, completed=0, failed=3,
    cancelled=0, superseded=0, in_progress=0, pending=0,
)  # fmt: skip


def test_every_state_of_an_operation_is_told_in_both_languages() -> None:
    states: Sequence[str] = [*OperationStatus.values, "stopping"]
    for state, until, kind, gives_way in product(states, Until.values, Kind.values, (False, True)):
        facts = replace(
            FACTS, state=state, until=until, kind=kind, gives_way=gives_way, fates=dict.fromkeys(Fate, 1), completed=1
        )
        for tell in (operation_sentence, operation_details):
            assert "%(" not in tell(facts)
            with translation.override("zh-hans"):
                assert re.search(r"[一-鿿]", tell(facts)), (state, until)
                assert not re.search(r"%\(|[a-z]{3,}", tell(facts).replace("current", "")), tell(facts)


def test_reverted_everywhere_there_is_nothing_to_roll_back() -> None:
    facts = replace(FACTS, fates={Fate.REVERTED: 3}, reverted_to="v1")

    assert operation_details(facts) == "All 3 instances were reverted to v1; there is nothing to roll back."


def test_the_details_say_what_each_instance_came_to() -> None:
    ended = (
        (Step.CONNECT, None, ErrorCode.NODE_UNREACHABLE),
        (Step.RESTART, True, ErrorCode.COMMAND_FAILED),
        (Step.RESTART, None, ErrorCode.NODE_UNREACHABLE),
        (Step.RESTART, False, ErrorCode.COMMAND_FAILED),
        (Step.VERIFY, True, ErrorCode.REVERT_FAILED),
    )
    targets = [
        TargetFacts(status=TargetStatus.FAILED, step=step, reverted=back, code=code) for step, back, code in ended
    ]
    counted = fates(targets)

    assert {fate_of(each) for each in targets} == counted.keys()
    assert operation_details(replace(FACTS, total=6, completed=1, fates=counted, reverted_to="v1")) == (
        "1 runs v2. On 1 nothing was switched. 1 was reverted to v1. 1 was not reverted: `current` leads to v2 there. On 1 the "
        "way back failed: what runs there is not known. What 1 runs is not known: sync the service to see."
    )


def test_what_has_got_another_version_since_is_not_said_to_run_this_one() -> None:
    ended = replace(FACTS, state=OperationStatus.COMPLETED, total=3, completed=3, moved_on=2)
    target = TargetFacts(status=TargetStatus.COMPLETED, step=Step.DONE, reverted=None, code="")

    assert operation_sentence(ended) == "Completed: all 3 instances were switched to v2"
    assert operation_details(ended) == "2 were switched to v2 and run another version now."
    assert operation_details(replace(ended, state=OperationStatus.FAILED, total=4)).startswith(
        "1 runs v2. 2 were switched to v2 and run another version now."
    )
    assert target_sentences(target, until=Until.SWITCHED, version="v2", previous="v1", now="v3") == [
        "It was switched to v2; it runs v3 now."
    ]
    assert target_sentences(target, until=Until.SWITCHED, version="v2", previous="v1", now="v2") == ["It runs v2."]


def test_a_rollback_that_waits_for_a_deploy_to_stop_does_not_say_that_it_waits_for_a_worker() -> None:
    waits = replace(FACTS, kind=Kind.ROLLBACK, state=OperationStatus.PENDING, gives_way=True)

    assert operation_sentence(waits) == "Waiting for a deploy to stop"
    assert operation_sentence(replace(waits, gives_way=False)) == "Waiting for a worker"
