"""What a target's log tells of the work on its node, step by step. Pure: facts in, sentences out."""

from __future__ import annotations

from collections.abc import Mapping

from deploys.node.answers import ELSEWHERE
from deploys.node.session import CommandEnded, Linked, Removed, Staged
from deploys.operations.log import COMMAND_BEGINS
from deploys.packages.figures import rounded, size, speed
from deploys.states import Step
from deploys.told import Telling, Told
from deploys.told import marked as _
from deploys.worker.delivered import Delivered
from inventory.nodes.transports.base import Login, NodeAddress


def begins(*, worker: str, fence: int) -> Told:
    return Told(_("Worker '%(worker)s' begins, with claim %(fence)s."), {"worker": worker, "fence": fence})


def stops(*, worker: str) -> Told:
    return Told(_("Worker '%(worker)s' stops: another one begins this instance anew."), {"worker": worker})


def is_cancelled(operation: str) -> Told:
    return Told(_("Operation '%(operation)s' is cancelled: this instance is to stop."), {"operation": operation})


def gives_way(rollback: str, who: str) -> Told:
    text = _("Rollback '%(rollback)s', which %(who)s asked for, goes before this deploy.")
    return Told(text, {"rollback": rollback, "who": who})


def ends_command() -> Told:
    """For a cancel, a rollback, or the worker's own stop."""
    return Told(_("Ending the command that runs on the node."))


# The package.


def downloaded(*, host: str, size_bytes: int, seconds: float) -> Told:
    text = _(
        "The package came from %(host)s, once for all instances of this worker: %(size)s in %(seconds)s s, %(speed)s."
    )
    facts = {"host": host, "size": size(size_bytes), "seconds": rounded(seconds), "speed": speed(size_bytes, seconds)}
    return Told(text, facts)


def was_stored(size_bytes: int) -> Told:
    return Told(_("The package is in the store of this worker's host: %(size)s."), {"size": size(size_bytes)})


# The node.


def connected(node: NodeAddress, login: Login | None, *, is_new: bool) -> tuple[Told, ...]:
    """login: how the connection was made, None on the worker's own machine. is_new: since this work began."""
    if login is None:
        return (Told(_("Node '%(node)s' is this worker's own machine."), {"node": node.name}),)
    if not is_new:
        return _reached(node), Told(_("The connection was open already."))
    return _reached(node), Told(_("The login took %(seconds)s s."), {"seconds": rounded(login.seconds)})


def _reached(node: NodeAddress) -> Told:
    facts = {"node": node.name, "where": f"{node.ssh_user}@{node.host}:{node.ssh_port}", "socket": node.jump_socket}
    if node.jump is None:
        return Told(_("Connected to node '%(node)s', %(where)s."), facts)
    facts["jump"] = " → ".join(hop.name for hop in reversed(node.jump.chain))
    if node.jump_socket:
        return Told(_("Connected to node '%(node)s' by its tunnel, %(socket)s on jump host %(jump)s."), facts)
    return Told(_("Connected to node '%(node)s', %(where)s, through jump host %(jump)s."), facts)


def found(staged: Staged, release: str) -> tuple[Told, ...]:
    """Before anything was changed. Why one that is there is not taken, others tell."""
    current = staged.state.current
    leads = Told(_("`current` leads to no release."))
    if current:
        leads = Told(_("`current` leads to '%(release)s'."), {"release": current})
    if staged.unfit:
        return (leads,)
    there = _("Release '%(release)s' is on the node, as it was staged.")
    absent = _("Release '%(release)s' is not on the node.")
    return leads, Told(there if staged.outcome == "present" else absent, {"release": release})


def is_taken(release: str) -> Told:
    """The switch looks whether it is as it was staged."""
    return Told(_("Release '%(release)s' is on the node from before: nothing is sent."), {"release": release})


def was_staged(delivered: Delivered, release: str, *, seconds: float) -> Told:
    texts = {
        "sent": _("Release '%(release)s' is staged: %(size)s sent and unpacked in %(seconds)s s, %(speed)s."),
        "fetched": _(
            "Release '%(release)s' is staged: the node fetched %(size)s and unpacked it in %(seconds)s s, %(speed)s."
        ),
        "kept": _(
            "Release '%(release)s' is staged in %(seconds)s s, of what was sent for another instance of this node."
        ),
    }
    of_another = {
        "sent": _(
            "Release '%(release)s' is staged in %(seconds)s s, made of '%(base)s' there and of what differs: %(size)s of "
            "%(all)s were sent."
        ),
        "fetched": _(
            "Release '%(release)s' is staged in %(seconds)s s, made of '%(base)s' there and of what differs: the node "
            "fetched %(size)s of %(all)s."
        ),
        "kept": _(
            "Release '%(release)s' is staged in %(seconds)s s, made of '%(base)s' there and of what was sent for another "
            "instance of this node."
        ),
    }
    facts = {
        "release": release,
        "base": delivered.base,
        "size": size(delivered.sent_bytes),
        "all": size(delivered.full_bytes),
        "seconds": rounded(seconds),
        "speed": speed(delivered.sent_bytes, seconds),
    }
    return Told((of_another if delivered.base else texts)[delivered.staged.way], facts)


def could_not_build(base: str, why: Telling) -> Telling:
    """base: a release on the node that this one was to be made of."""
    return (Told(_("Release '%(base)s' on the node can't be built upon:"), {"base": base}), *why)


# The commands.

_ENDED: Mapping[Step, str] = {
    Step.BEFORE_SWITCH: _("The before-switch command ended with exit status %(status)s after %(seconds)s s."),
    Step.RESTART: _("The restart command ended with exit status %(status)s after %(seconds)s s."),
    Step.REVERT: _("The restart command of the way back ended with exit status %(status)s after %(seconds)s s."),
}
_LATE: Mapping[Step, str] = {
    Step.BEFORE_SWITCH: _("The before-switch command was not over after %(seconds)s s, and was killed."),
    Step.RESTART: _("The restart command was not over after %(seconds)s s, and was killed."),
    Step.REVERT: _("The restart command of the way back was not over after %(seconds)s s, and was killed."),
}


def command_begins(step: Step, *, timeout_seconds: int) -> Told | None:
    """None for a step that runs no command."""
    return Told(COMMAND_BEGINS[step], {"seconds": timeout_seconds}) if step in COMMAND_BEGINS else None


def command_ended(step: Step, ended: CommandEnded) -> Told:
    text = (_LATE if ended.timed_out else _ENDED)[step if step in _ENDED else Step.RESTART]
    return Told(text, {"status": ended.exit_status, "seconds": rounded(ended.seconds)})


def verifying(version: str, *, timeout_seconds: int) -> Told:
    text = _("The version command runs until it says '%(version)s', for %(seconds)s s at most.")
    return Told(text, {"version": version, "seconds": timeout_seconds})


def verified(version: str) -> Told:
    return Told(_("The version command says '%(version)s'."), {"version": version})


# The link.


def linked(event: Linked, *, is_way_back: bool) -> Told:
    facts = {"before": event.before, "now": event.now}
    if is_way_back and event.now == ELSEWHERE:
        return Told(_("Reverted: `current` leads to what it led to before again."))
    if is_way_back:
        return Told(_("Reverted: `current` leads to '%(now)s' again, no longer to '%(before)s'."), facts)
    if event.before == event.now:
        return Told(_("`current` leads to '%(now)s' already."), facts)
    if event.before in ("", ELSEWHERE):
        return Told(_("`current` leads to '%(now)s' now; before, it led to no release of ours."), facts)
    return Told(_("`current` leads to '%(now)s' now; before, it led to '%(before)s'."), facts)


def removed(event: Removed) -> Told:
    return Told(_("Old releases removed: %(releases)s."), {"releases": event.releases})


def completed(version: str) -> Told:
    return Told(_("Completed: version '%(version)s' runs."), {"version": version})
