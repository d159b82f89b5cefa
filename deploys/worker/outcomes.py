"""How a target ended, and what that means for its instance. Pure: facts in, an Outcome out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from deploys.error_codes import ErrorCode
from deploys.node.session import Switch
from deploys.states import Kind, StopReason, TargetStatus
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.interruption import Ending
from inventory.instances.facts import Effect
from inventory.models import RunStatus
from inventory.releases import version_of

# Nobody knows whether the instance runs, and what.
UNKNOWN = Effect(run_status=RunStatus.UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """status and the rest as they will stand on the target; effect: what changes on the instance, None for nothing."""

    status: TargetStatus
    error_code: ErrorCode | Literal[""] = ""
    error_message: str = ""
    reverted: bool | None = None
    effect: Effect | None = None


def failure(code: ErrorCode, message: str, *, effect: Effect | None = None) -> Outcome:
    return Outcome(status=TargetStatus.FAILED, error_code=code, error_message=message, effect=effect)


def ended_early(ending: Ending) -> Outcome | Ending:
    """The outcome of work that was stopped; an Ending when it goes to another worker, and has none yet."""
    match ending:
        case Ending.REQUEUED | Ending.CLAIM_LOST:
            return ending
        case Ending.SUPERSEDED:
            message = "Superseded by a rollback. Nothing had been switched."
            return Outcome(status=TargetStatus.SUPERSEDED, error_message=message)
        case Ending.CANCELLED:
            message = "Cancelled before the switch; the old version runs."
            return Outcome(status=TargetStatus.CANCELLED, error_message=message)
        case Ending.UNRESOLVED:
            message = "Cancelled; the node did not say in time what became of the switch. Sync the service."
            return Outcome(status=TargetStatus.CANCELLED, error_message=message, effect=UNKNOWN)


def unresolved(code: ErrorCode, message: str) -> Outcome:
    """The switch went out, but the node no longer says what became of it."""
    return failure(code, message, effect=UNKNOWN)


def broken_off(outcome: Outcome, effect: Effect) -> Outcome:
    """The outcome of a target whose earlier switch broke off on the node in its middle, with this effect, if not redone."""
    if outcome.effect is not None:
        return outcome
    what = "An earlier switch was broken off on the node; whether the instance runs is unknown. Sync the service."
    return replace(outcome, error_message=what, effect=effect)


def switch_ended(
    assignment: Assignment, package: PinnedPackage, switch: Switch, stop: StopReason, *, was_aborted: bool
) -> Outcome:
    """The outcome of a switch that the node carried out or took back."""
    if switch.outcome == "switched":
        return _after_stop(_success(assignment, package), stop)
    if switch.outcome == "restart_failed":
        return _after_stop(_restart_failed(assignment, package, switch, was_aborted=was_aborted), stop)
    return failure(
        ErrorCode.SWITCH_FAILED,
        f"The switch to '{assignment.version}' failed on node '{assignment.node.name}' in {assignment.deploy_root}; "
        f"the old version runs. {' '.join(switch.warnings)}".strip(),
    )


def _after_stop(outcome: Outcome, stop: StopReason) -> Outcome:
    """A rollback supersedes a switch that could not be interrupted, however it ended."""
    if stop == StopReason.SUPERSEDE:
        return replace(outcome, status=TargetStatus.SUPERSEDED)
    return outcome


def _success(assignment: Assignment, package: PinnedPackage) -> Outcome:
    return Outcome(
        status=TargetStatus.COMPLETED,
        effect=Effect(
            version=assignment.version,
            release=package.release,
            sha256=package.sha256,
            run_status=RunStatus.RUNNING,
            is_expected=True,
            history="push" if assignment.kind == Kind.DEPLOY else "pop",
        ),
    )


def _restart_failed(assignment: Assignment, package: PinnedPackage, switch: Switch, *, was_aborted: bool) -> Outcome:
    code = ErrorCode.COMMAND_TIMEOUT if switch.timed_out else ErrorCode.COMMAND_FAILED
    return Outcome(
        status=TargetStatus.CANCELLED if was_aborted else TargetStatus.FAILED,
        error_code="" if was_aborted else code,
        error_message=_restart_message(assignment, switch, was_aborted=was_aborted),
        reverted=switch.reverted,
        effect=_effect_of_way_back(assignment, switch)
        if switch.reverted
        else Effect(
            version=assignment.version,
            release=package.release,
            sha256=package.sha256,
            run_status=RunStatus.FAILED,
            is_expected=True,
        ),
    )


def _effect_of_way_back(assignment: Assignment, switch: Switch) -> Effect:
    """The node's word counts: it may have run another release than the database believed."""
    if switch.previous == assignment.running_release:
        return Effect(run_status=RunStatus.RUNNING)
    return Effect(version=version_of(switch.previous), release=switch.previous, run_status=RunStatus.RUNNING)


def _restart_message(assignment: Assignment, switch: Switch, *, was_aborted: bool) -> str:
    seconds = assignment.service.command_timeout_seconds
    what = f"took longer than {seconds} s" if switch.timed_out else f"ended with exit status {switch.restart_exit}"
    if was_aborted:
        what = "was stopped by the cancel"
    where = f"on node '{assignment.node.name}' in {assignment.deploy_root}"
    if switch.reverted:
        back = f"The previous release '{switch.previous}' is current again and was restarted."
    else:
        back = "There was no previous release to go back to."
    return f"The restart command of '{assignment.version}' {what} {where}. {back} The log has its output."
