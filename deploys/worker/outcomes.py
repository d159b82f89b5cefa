"""How a target ended, and what that means for its instance. Pure: facts in, an Outcome out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from deploys.error_codes import ErrorCode
from deploys.node.session import Switch
from deploys.states import Kind, StopReason, TargetStatus
from deploys.worker.assignment import Assignment, PinnedPackage
from inventory.instances.facts import Effect
from inventory.models import RunStatus

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


def stopped(reason: StopReason, *, by: str) -> Outcome:
    """The target stopped at a safe point, before anything visible had changed on the node."""
    if reason == StopReason.SUPERSEDE:
        return Outcome(status=TargetStatus.SUPERSEDED, error_message=f"{by} Nothing had been switched.")
    return Outcome(status=TargetStatus.CANCELLED, error_message="Cancelled before the switch; the old version runs.")


def unresolved(code: ErrorCode, message: str) -> Outcome:
    """The switch went out, but the node no longer says what became of it."""
    return failure(code, message, effect=UNKNOWN)


def broken_off(outcome: Outcome, half_switched: Effect) -> Outcome:
    """The outcome of a target whose earlier switch had been broken off on the node in its middle, and was not redone."""
    if outcome.effect is not None:
        return outcome
    what = "An earlier switch was broken off on the node; whether the instance runs is unknown. Sync the service."
    return replace(outcome, error_message=what, effect=half_switched)


def switch_ended(
    assignment: Assignment, package: PinnedPackage, switched: Switch, stop: StopReason, *, was_aborted: bool
) -> Outcome:
    """The outcome of a switch that the node carried out or took back."""
    if switched.outcome == "switched":
        return _after_stop(_success(assignment, package), stop)
    if switched.outcome == "restart_failed":
        return _after_stop(_restart_failed(assignment, package, switched, was_aborted=was_aborted), stop)
    return failure(
        ErrorCode.SWITCH_FAILED,
        f"The switch to '{assignment.version}' failed on node '{assignment.node.name}' in {assignment.deploy_root}; "
        f"the old version runs. {' '.join(switched.warnings)}".strip(),
    )


def _after_stop(outcome: Outcome, stop: StopReason) -> Outcome:
    """A rollback that goes first supersedes a switch that could not be interrupted, however it ended."""
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


def _restart_failed(assignment: Assignment, package: PinnedPackage, switched: Switch, *, was_aborted: bool) -> Outcome:
    code = ErrorCode.COMMAND_TIMEOUT if switched.timed_out else ErrorCode.COMMAND_FAILED
    return Outcome(
        status=TargetStatus.CANCELLED if was_aborted else TargetStatus.FAILED,
        error_code="" if was_aborted else code,
        error_message=_restart_message(assignment, switched, was_aborted=was_aborted),
        reverted=switched.reverted,
        effect=_effect_of_way_back(assignment, switched)
        if switched.reverted
        else Effect(
            version=assignment.version,
            release=package.release,
            sha256=package.sha256,
            run_status=RunStatus.FAILED,
            is_expected=True,
        ),
    )


def _effect_of_way_back(assignment: Assignment, switched: Switch) -> Effect:
    """The node's word counts: it may have run another release than the database believed."""
    if switched.previous == assignment.running_release:
        return Effect(run_status=RunStatus.RUNNING)
    return Effect(version=switched.previous.partition("@")[0], release=switched.previous, run_status=RunStatus.RUNNING)


def _restart_message(assignment: Assignment, switched: Switch, *, was_aborted: bool) -> str:
    seconds = assignment.service.command_timeout_seconds
    what = f"took longer than {seconds} s" if switched.timed_out else f"ended with exit status {switched.restart_exit}"
    if was_aborted:
        what = "was stopped by the cancel"
    where = f"on node '{assignment.node.name}' in {assignment.deploy_root}"
    if switched.reverted:
        back = f"The previous release '{switched.previous}' is current again and was restarted."
    else:
        back = "There was no previous release to go back to."
    return f"The restart command of '{assignment.version}' {what} {where}. {back} The log has its output."
