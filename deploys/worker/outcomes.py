"""How a target ended, and what that means for its instance. Pure: facts in, an Outcome out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from deploys.error_codes import ErrorCode
from deploys.node.refusals import found_there, leads_to, refusal
from deploys.node.session import Switch
from deploys.operations.transitions import Wait
from deploys.states import Kind, Step, TargetStatus
from deploys.told import Facts, Telling, Told
from deploys.told import marked as _
from deploys.worker.assignment import Assignment, PinnedPackage
from deploys.worker.interruption import Ending
from deploys.worker.refusals import EventRefused
from inventory.instances.facts import Effect, Found
from inventory.models import RunStatus
from inventory.names import is_name
from inventory.nodes.transports.base import TransportError
from inventory.releases import version_of

# A node has gone back by then, if all is well.
LOOK_AFTER_SECONDS = 1.0
NOT_SWITCHED = Told(_("Nothing was switched."))
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
    told: Telling = ()
    failed_step: Step | None = None
    last_step: Step = Step.DONE
    reverted: bool | None = None
    effect: Effect | None = None
    wait: Wait | None = None

    @property
    def is_whole(self) -> bool:
        """All is done, the switch included."""
        return self.status == TargetStatus.COMPLETED and self.last_step == Step.DONE


def failure(code: ErrorCode, told: Telling, *, effect: Effect | None = None) -> Outcome:
    return Outcome(status=TargetStatus.FAILED, error_code=code, told=told, effect=effect)


def unswitched(last_step: Step) -> Outcome:
    """All that was asked for is done, and nothing was switched: what the instance runs is as it was."""
    return Outcome(status=TargetStatus.COMPLETED, last_step=last_step)


def ended_early(ending: Ending) -> Outcome | Ending:
    """The outcome of work that was stopped; an Ending when it goes to another worker, and has none yet."""
    match ending:
        case Ending.REQUEUED | Ending.CLAIM_LOST:
            return ending
        case Ending.SUPERSEDED:
            told = (Told(_("Superseded by a rollback. Nothing had been switched.")),)
            return Outcome(status=TargetStatus.SUPERSEDED, told=told)
        case Ending.CANCELLED:
            told = (Told(_("Cancelled before the switch: nothing was switched.")),)
            return Outcome(status=TargetStatus.CANCELLED, told=told)
        case Ending.UNRESOLVED:
            what = _("Cancelled; the node did not say in time what became of the switch. Sync the service.")
            return _cancelled_in_switch((Told(what),), UNKNOWN)


def _cancelled_in_switch(told: Telling, effect: Effect) -> Outcome:
    return Outcome(
        status=TargetStatus.CANCELLED,
        error_code=ErrorCode.CANCELLED_IN_SWITCH,
        told=told,
        failed_step=Step.SWITCH,
        effect=effect,
    )


def unresolved(code: ErrorCode, told: Telling, *, failed_step: Step | None = None) -> Outcome:
    """The switch went out, but the node no longer says what became of it."""
    return replace(failure(code, told, effect=UNKNOWN), failed_step=failed_step)


def unstorable(refused: EventRefused, effect: Effect | None) -> Outcome:
    """The database refused something of the target's. effect: what had come of it, None for nothing.

    If it was the end that was refused, the effect may be what can't be stored.
    """
    if effect is None:
        return failure(ErrorCode.INTERNAL_ERROR, (refused.told, NOT_SWITCHED))
    kept = UNKNOWN if refused.is_end else effect
    told = (refused.told, Told(_("Sync the service to see what runs.")))
    return failure(ErrorCode.INTERNAL_ERROR, told, effect=kept)


def broken_off(outcome: Outcome, effect: Effect) -> Outcome:
    """The outcome of a target whose earlier switch broke off on the node in its middle, with this effect, if not redone."""
    if outcome.effect is not None:
        return outcome
    what = Told(
        _("An earlier switch was broken off on the node; whether the instance runs is unknown. Sync the service.")
    )
    if outcome.status == TargetStatus.CANCELLED:
        return _cancelled_in_switch((Told(_("Cancelled.")), what), effect)
    return replace(outcome, told=(*outcome.told, what), effect=effect)


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
    return failure(ErrorCode.SWITCH_FAILED, (on_node(assignment), *what))


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
        told=_unconfirmed_message(assignment, switch),
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


def _unconfirmed_message(assignment: Assignment, switch: Switch) -> Telling:
    confirmation = assignment.confirmation
    facts: Facts = {**_where(assignment), "seconds": confirmation.within_seconds}
    if switch.taken_back:
        what = _("Cancelled while '%(version)s' waited to be confirmed on node '%(node)s' in %(root)s.")
    elif confirmation.is_given:
        what = _(
            "'%(version)s' was confirmed, but that did not reach the node in its time on node '%(node)s' in %(root)s."
        )
    elif confirmation.overdue_seconds < 0:
        what = _("'%(version)s' was gone back from before it was confirmed on node '%(node)s' in %(root)s.")
    else:
        what = _("'%(version)s' was not confirmed within %(seconds)s s on node '%(node)s' in %(root)s.")
    return (Told(what, facts), *_way_back(assignment, switch))


def on_node(assignment: Assignment) -> Told:
    """What is told of it follows."""
    return Told(_("On node '%(node)s':"), {"node": assignment.node.name})


def of_node(assignment: Assignment, error: TransportError) -> Told:
    return Told(_("Node '%(node)s': %(what)s."), {"node": assignment.node.name, "what": error.told})


def _where(assignment: Assignment) -> dict[str, str]:
    return {"version": assignment.version, "node": assignment.node.name, "root": assignment.deploy_root}


def found_has_changed(assignment: Assignment, package: PinnedPackage, switch: Switch) -> Outcome:
    """A rollback to what another tool had installed, which is not as it was left."""
    told = (
        on_node(assignment),
        found_there(switch.found, root=assignment.deploy_root),
        Told(
            _(
                "Another tool installed release '%(release)s', so it is switched to only as it was when it was left, and "
                "there is no package to make it of again."
            ),
            {"release": package.release},
        ),
        NOT_SWITCHED,
        *leads_to(switch.current),
        Told(
            _(
                "Look at it on the node: to run it as it is, link `current` to it by hand and sync the service; or roll back "
                "to another version."
            )
        ),
    )
    return failure(ErrorCode.SWITCH_FAILED, told)


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
    """Cancelled only when the cancel has ended a command on the node, maybe by a worker that has died since; a restart may
    fail by itself just before.
    """
    is_cancelled = switch.was_stopped or (was_aborted and switch.has_way_back_failed)
    return Outcome(
        status=TargetStatus.CANCELLED if is_cancelled else TargetStatus.FAILED,
        error_code=_restart_code(switch, is_cancelled=is_cancelled),
        told=_restart_message(assignment, switch),
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


def _restart_message(assignment: Assignment, switch: Switch) -> Telling:
    facts: Facts = {**_where(assignment), "said": switch.said, **_limits(assignment)}
    back = _way_back(assignment, switch)
    if switch.is_mismatch and not switch.said:
        what = _(
            "The version command printed nothing within %(version_seconds)s s after the restart of '%(version)s' on node "
            "'%(node)s' in %(root)s."
        )
        return (Told(what, facts), *back)
    if switch.is_mismatch:
        what = _(
            "The version command did not print '%(version)s' within %(version_seconds)s s after the restart, but in the end "
            "'%(said)s', on node '%(node)s' in %(root)s."
        )
        return (Told(what, facts), *back)
    if _has_failed_in_check(switch):
        what = _("The version check of '%(version)s' was stopped by the cancel on node '%(node)s' in %(root)s.")
        return (Told(what, facts), *back)
    return (_restart_ended(switch, facts), *back, Told(_("The log has its output.")))


def _restart_ended(switch: Switch, facts: Facts) -> Told:
    if switch.was_stopped:
        text = _("The restart command of '%(version)s' was stopped by the cancel on node '%(node)s' in %(root)s.")
    elif switch.timed_out:
        text = _("The restart command of '%(version)s' took longer than %(seconds)s s on node '%(node)s' in %(root)s.")
    elif switch.restart_exit is None:
        text = _("The restart command of '%(version)s' was broken off on node '%(node)s' in %(root)s.")
    else:
        facts = {**facts, "status": switch.restart_exit}
        text = _(
            "The restart command of '%(version)s' ended with exit status %(status)s on node '%(node)s' in %(root)s."
        )
    return Told(text, facts)


def _limits(assignment: Assignment) -> dict[str, int]:
    service = assignment.service
    return {"seconds": service.command_timeout_seconds, "version_seconds": service.version_timeout_seconds}


def _has_failed_in_check(switch: Switch) -> bool:
    return switch.is_mismatch or (switch.was_stopped and switch.has_restarted)


def _way_back(assignment: Assignment, switch: Switch) -> Telling:
    """What the node did about a switch that failed, and what is so now."""
    before = before_told(switch)
    facts: Facts = {"before": before, "why": switch.back_problem}
    match switch.back:
        case "restarted" if switch.back_timed_out:
            text = _("The way back failed too: `current` leads to %(before)s again, but its restart took too long.")
            return (Told(text, facts), _UNKNOWN_ON_NODE)
        case "restarted" if switch.has_way_back_failed:
            facts["status"] = switch.back_exit or 0
            text = _(
                "The way back failed too: `current` leads to %(before)s again, but its restart ended with exit status "
                "%(status)s."
            )
            return (Told(text, facts), _UNKNOWN_ON_NODE)
        case "restarted":
            return (Told(_back_text(switch, was_restarted=True), facts),)
        case "unlinked":
            text = _("The way back to %(before)s failed too: the link could not be moved.")
            if switch.back_problem:
                text = _("The way back to %(before)s failed too: the link could not be moved (%(why)s).")
            return (Told(text, facts), *leads_to(switch.current), _UNKNOWN_ON_NODE)
        case "gone":
            text = _("What `current` led to before is no longer on the node to go back to.")
            if switch.release_before:
                text = _("The release before, %(before)s, is no longer on the node to go back to.")
            return (Told(text, facts), *leads_to(switch.current))
    if switch.reverted:
        return (Told(_back_text(switch, was_restarted=False), facts),)
    if switch.previous:
        text = _("'%(release)s' had been current before, too: there was nothing else to go back to.")
        return (Told(text, {"release": switch.previous}),)
    return (Told(_("There was no previous release to go back to.")),)


_UNKNOWN_ON_NODE = Told(_("What runs is not known: look at the service on the node, then deploy or roll back."))


def _back_text(switch: Switch, *, was_restarted: bool) -> str:
    if not switch.release_before:
        restarted = _("`current` leads to %(before)s again, which was restarted.")
        return restarted if was_restarted else _("`current` leads to %(before)s again.")
    restarted = _("`current` leads to the previous release %(before)s again, which was restarted.")
    return restarted if was_restarted else _("`current` leads to the previous release %(before)s again.")


def before_told(switch: Switch) -> Told:
    """What was before, in words: a release, or where `current` led and may lead again."""
    if switch.release_before:
        return Told("'%(release)s'", {"release": switch.release_before})
    if switch.found_elsewhere:
        return Told("%(where)s", {"where": switch.found_elsewhere})
    return Told(_("what `current` led to before"))
