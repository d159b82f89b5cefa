"""How a target ended, and what that means for its instance. Pure: facts in, an Outcome out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from deploys.error_codes import ErrorCode
from deploys.node.refusals import found_there, leads_to, refusal
from deploys.node.session import Switch
from deploys.operations.transitions import Wait
from deploys.states import Kind, Step, TargetStatus
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.interruption import Ending
from deploys.worker.refusals import EventRefused
from inventory.instances.facts import Effect, Found
from inventory.models import RunStatus
from inventory.names import is_name
from inventory.releases import version_of

# A node has gone back by then, if all is well.
LOOK_AFTER_SECONDS = 1.0
# Nobody knows whether the instance runs, and what.
UNKNOWN = Effect(run_status=RunStatus.UNKNOWN, process="")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """status and the rest as they will stand on the target; effect: what changes on the instance, None for nothing.

    wait: of one that stays in progress, waiting on its node to be confirmed.
    failed_step: the step of the error, None when it is the one in progress. last_step: without an error, the one it ended at.
    """

    status: TargetStatus
    error_code: ErrorCode | Literal[""] = ""
    error_message: str = ""
    failed_step: Step | None = None
    last_step: Step = Step.DONE
    reverted: bool | None = None
    effect: Effect | None = None
    wait: Wait | None = None


def failure(code: ErrorCode, message: str, *, effect: Effect | None = None) -> Outcome:
    return Outcome(status=TargetStatus.FAILED, error_code=code, error_message=message, effect=effect)


def unswitched(last_step: Step) -> Outcome:
    """All that was asked for is done, and nothing was switched: what the instance runs is as it was."""
    return Outcome(status=TargetStatus.COMPLETED, last_step=last_step)


def ended_early(ending: Ending) -> Outcome | Ending:
    """The outcome of work that was stopped; an Ending when it goes to another worker, and has none yet."""
    match ending:
        case Ending.REQUEUED | Ending.CLAIM_LOST:
            return ending
        case Ending.SUPERSEDED:
            message = "Superseded by a rollback. Nothing had been switched."
            return Outcome(status=TargetStatus.SUPERSEDED, error_message=message)
        case Ending.CANCELLED:
            message = "Cancelled before the switch: nothing was switched."
            return Outcome(status=TargetStatus.CANCELLED, error_message=message)
        case Ending.UNRESOLVED:
            return _cancelled_in_switch(
                "Cancelled; the node did not say in time what became of the switch. Sync the service.", UNKNOWN
            )


def _cancelled_in_switch(message: str, effect: Effect) -> Outcome:
    return Outcome(
        status=TargetStatus.CANCELLED,
        error_code=ErrorCode.CANCELLED_IN_SWITCH,
        error_message=message,
        failed_step=Step.SWITCH,
        effect=effect,
    )


def unresolved(code: ErrorCode, message: str) -> Outcome:
    """The switch went out, but the node no longer says what became of it."""
    return failure(code, message, effect=UNKNOWN)


def unstorable(refused: EventRefused, effect: Effect | None) -> Outcome:
    """The database refused something of the target's. effect: what had come of it, None for nothing.

    If it was the end that was refused, the effect may be what can't be stored.
    """
    if effect is None:
        return failure(ErrorCode.INTERNAL_ERROR, f"{refused.message} Nothing was switched.")
    kept = UNKNOWN if refused.is_end else effect
    return failure(ErrorCode.INTERNAL_ERROR, f"{refused.message} Sync the service to see what runs.", effect=kept)


def broken_off(outcome: Outcome, effect: Effect) -> Outcome:
    """The outcome of a target whose earlier switch broke off on the node in its middle, with this effect, if not redone."""
    if outcome.effect is not None:
        return outcome
    what = "An earlier switch was broken off on the node; whether the instance runs is unknown. Sync the service."
    if outcome.status == TargetStatus.CANCELLED:
        return _cancelled_in_switch(f"Cancelled. {what}", effect)
    return replace(outcome, error_message=what, effect=effect)


def switch_ended(assignment: Assignment, package: PinnedPackage, switch: Switch, *, was_aborted: bool) -> Outcome:
    """The outcome of a switch that the node carried out, took back or refused.

    Whether it is superseded, the rollback's row says when this is stored (`deploys.operations.transitions`): the rollback may
    have been cancelled while it waited.
    """
    if switch.outcome == "switched":
        return _success(assignment, package, switch)
    if switch.outcome == "confirming":
        return _waits_to_be_confirmed(assignment, package, switch)
    if switch.outcome == "unconfirmed":
        return _unconfirmed(assignment, package, switch)
    if switch.outcome in ("restart_failed", ErrorCode.VERSION_MISMATCH):
        return _restart_failed(assignment, package, switch, was_aborted=was_aborted)
    what = refusal(
        ErrorCode.SWITCH_FAILED,
        "the node refused it",
        root=assignment.deploy_root,
        found=switch.found,
        current=switch.current,
    )
    return failure(ErrorCode.SWITCH_FAILED, f"On node '{assignment.node.name}': {what}")


def _waits_to_be_confirmed(assignment: Assignment, package: PinnedPackage, switch: Switch) -> Outcome:
    """It runs, and the node goes back by itself unless it is confirmed. Nothing of it is a success yet."""
    effect = _brought(assignment, package, switch, RunStatus.RUNNING)
    wait = Wait(seconds=switch.seconds_left, ask_in_seconds=switch.seconds_left + LOOK_AFTER_SECONDS)
    return Outcome(status=TargetStatus.IN_PROGRESS, last_step=Step.CONFIRM, effect=effect, wait=wait)


def _unconfirmed(assignment: Assignment, package: PinnedPackage, switch: Switch) -> Outcome:
    """The node has gone back, or could not, for want of a confirmation or because the deploy was cancelled."""
    is_cancelled = switch.taken_back
    code = ErrorCode.CANCELLED_IN_SWITCH if is_cancelled else ErrorCode.NOT_CONFIRMED
    if switch.has_way_back_failed and not is_cancelled:
        code = ErrorCode.REVERT_FAILED
    return Outcome(
        status=TargetStatus.CANCELLED if is_cancelled else TargetStatus.FAILED,
        error_code=code,
        error_message=_unconfirmed_message(assignment, switch),
        failed_step=Step.CONFIRM,
        reverted=switch.reverted,
        effect=_gone_back(switch) if switch.reverted else _brought(assignment, package, switch, RunStatus.UNKNOWN),
    )


def _gone_back(switch: Switch) -> Effect:
    """While it waited, what was recorded was the new release: all of the one before is recorded anew."""
    release, current = switch.release_before, switch.current
    return Effect(
        version=version_of(release),
        release=release,
        sha256=current.sha256 if current is not None and current.release == release else None,
        run_status=RunStatus.UNKNOWN if switch.has_way_back_failed else RunStatus.RUNNING,
        is_expected=True,
        found=_found(switch),
    )


def _unconfirmed_message(assignment: Assignment, switch: Switch) -> str:
    confirmation = assignment.confirmation
    if switch.taken_back:
        what = f"Cancelled while '{assignment.version}' waited to be confirmed"
    elif confirmation.is_given:
        what = f"'{assignment.version}' was confirmed, but that did not reach the node in its time"
    elif confirmation.overdue_seconds < 0:
        what = f"'{assignment.version}' was gone back from before it was confirmed"
    else:
        what = f"'{assignment.version}' was not confirmed within {confirmation.within_seconds} s"
    where = f"on node '{assignment.node.name}' in {assignment.deploy_root}"
    return f"{what} {where}. {_way_back(assignment, switch)}"


def found_has_changed(assignment: Assignment, package: PinnedPackage, switch: Switch) -> Outcome:
    """A rollback to what another tool had installed, which is not as it was left."""
    there = found_there(switch.found, root=assignment.deploy_root)
    return failure(
        ErrorCode.SWITCH_FAILED,
        f"On node '{assignment.node.name}': {there} Another tool installed release '{package.release}', so it is switched to "
        "only as it was when it was left, and there is no package to make it of again. Nothing was switched. "
        f"{leads_to(switch.current)} "
        "Look at it on the node: to run it as it is, link `current` to it by hand and sync the service; or roll back to "
        "another version.",
    )


def _found(switch: Switch) -> Found:
    release = switch.found_release
    return Found(release=release if is_name(release) else "", elsewhere=switch.found_elsewhere)


def _brought(assignment: Assignment, package: PinnedPackage, switch: Switch, run_status: RunStatus) -> Effect:
    """`current` leads to what was asked for, which is no success yet, or none any more."""
    return Effect(
        version=assignment.version,
        release=package.release,
        sha256=package.sha256,
        run_status=run_status,
        is_expected=True,
        found=_found(switch),
    )


def _success(assignment: Assignment, package: PinnedPackage, switch: Switch) -> Outcome:
    return Outcome(
        status=TargetStatus.COMPLETED,
        effect=Effect(
            version=assignment.version,
            release=package.release,
            sha256=package.sha256,
            process=assignment.version if assignment.service.version_command else "",
            run_status=RunStatus.RUNNING,
            is_expected=True,
            history="push" if assignment.kind == Kind.DEPLOY else "pop",
            found=_found(switch),
        ),
    )


def _restart_failed(assignment: Assignment, package: PinnedPackage, switch: Switch, *, was_aborted: bool) -> Outcome:
    """Cancelled only when the cancel has ended a command on the node; a restart may fail by itself just before."""
    is_cancelled = was_aborted and (switch.was_stopped or switch.has_way_back_failed)
    return Outcome(
        status=TargetStatus.CANCELLED if is_cancelled else TargetStatus.FAILED,
        error_code=_restart_code(switch, is_cancelled=is_cancelled),
        error_message=_restart_message(assignment, switch),
        failed_step=Step.VERIFY if _has_failed_in_check(switch) else Step.RESTART,
        reverted=switch.reverted,
        effect=_effect_of_way_back(assignment, switch)
        if switch.reverted
        else Effect(
            version=assignment.version,
            release=package.release,
            sha256=package.sha256,
            process="",
            run_status=RunStatus.UNKNOWN if switch.has_way_back_failed else RunStatus.FAILED,
            is_expected=True,
            found=_found(switch),
        ),
    )


def _restart_code(switch: Switch, *, is_cancelled: bool) -> ErrorCode:
    if is_cancelled:
        return ErrorCode.CANCELLED_IN_SWITCH
    if switch.has_way_back_failed:
        return ErrorCode.REVERT_FAILED
    if switch.is_mismatch:
        return ErrorCode.VERSION_MISMATCH
    return ErrorCode.COMMAND_TIMEOUT if switch.timed_out else ErrorCode.COMMAND_FAILED


def _effect_of_way_back(assignment: Assignment, switch: Switch) -> Effect:
    """The node's word counts: it may have run another release than the database believed."""
    run_status = RunStatus.UNKNOWN if switch.has_way_back_failed else RunStatus.RUNNING
    if switch.release_before == assignment.running_release:
        return Effect(process="", run_status=run_status, found=_found(switch))
    version, release = version_of(switch.release_before), switch.release_before
    return Effect(version=version, release=release, process="", run_status=run_status, found=_found(switch))


def _restart_message(assignment: Assignment, switch: Switch) -> str:
    where = f"on node '{assignment.node.name}' in {assignment.deploy_root}"
    back = _way_back(assignment, switch)
    if switch.is_mismatch:
        return f"{_mismatch(assignment, switch)} {where}. {back}"
    what = _ended(assignment, switch.restart_exit, switch.timed_out)
    if switch.was_stopped:
        what = "was stopped by the cancel"
    if _has_failed_in_check(switch):
        return f"The version check of '{assignment.version}' {what} {where}. {back}"
    return f"The restart command of '{assignment.version}' {what} {where}. {back} The log has its output."


def _has_failed_in_check(switch: Switch) -> bool:
    return switch.is_mismatch or (switch.was_stopped and switch.has_restarted)


def _mismatch(assignment: Assignment, switch: Switch) -> str:
    seconds = assignment.service.version_timeout_seconds
    if not switch.said:
        return f"The version command printed nothing within {seconds} s after the restart of '{assignment.version}'"
    return (
        f"The version command did not print '{assignment.version}' within {seconds} s after the restart, but in the end "
        f"'{switch.said}',"
    )


def _ended(assignment: Assignment, status: int | None, timed_out: bool) -> str:
    if timed_out:
        return f"took longer than {assignment.service.command_timeout_seconds} s"
    return "was broken off" if status is None else f"ended with exit status {status}"


def _way_back(assignment: Assignment, switch: Switch) -> str:
    """What the node did about a restart that failed, and what is so now."""
    match switch.back:
        case "restarted" if switch.has_way_back_failed:
            ended = "took too long" if switch.back_timed_out else f"ended with exit status {switch.back_exit}"
            return (
                f"The way back failed too: `current` leads to {switch.before} again, but its restart {ended}. "
                "What runs is not known: look at the service on the node, then deploy or roll back."
            )
        case "restarted":
            return f"`current` leads to {_release_before(switch)} again, which was restarted."
        case "unlinked":
            why = f" ({switch.back_problem})" if switch.back_problem else ""
            return (
                f"The way back to {switch.before} failed too: the link could not be moved{why}. "
                f"{leads_to(switch.current)} What runs is not known: look at the node, then deploy or roll back."
            )
        case "gone":
            return f"{_gone(switch)} is no longer on the node to go back to. {leads_to(switch.current)}"
    if switch.reverted:
        return f"`current` leads to {_release_before(switch)} again."
    if switch.previous:
        return f"'{switch.previous}' had been current before, too: there was nothing else to go back to."
    return "There was no previous release to go back to."


def _release_before(switch: Switch) -> str:
    return f"the previous release {switch.before}" if switch.release_before else switch.before


def _gone(switch: Switch) -> str:
    return f"The release before, {switch.before}," if switch.release_before else "What `current` led to before"
