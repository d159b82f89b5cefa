"""What became of a target and of an operation: the one place where that is put into words.

Pages, webhooks and whoever else tells of them take their sentences from here, from the same few facts: a target's status, the
step at which it ended, whether its node went back, and its error code say what is so on its node (`fate_of`); how many
targets came to what says what became of the operation. In the active language.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from deploys.error_codes import ErrorCode
from deploys.operations.fates import Fate, TargetFacts, fate_of
from deploys.states import ACTIVE, Kind, OperationStatus, StopReason, TargetStatus, Until
from deploys.told import joined


def target_sentences(facts: TargetFacts, *, until: str, version: str, previous: str, now: str = "") -> list[str]:
    """What is so on it now that it has ended.

    version: what was asked for. previous: what ran before, '' if not known. now: what runs today, '' for what ran at its end.
    """
    if facts.status in ACTIVE:
        return []
    words = {"version": version, "previous": previous, "now": now}
    if facts.status == TargetStatus.COMPLETED:
        return [_completed(until, has_moved_on=now not in ("", version)) % words]
    stays = previous if facts.status != TargetStatus.SUPERSEDED else ""
    return [text % words for text in (_stopped(facts), _FATES[fate_of(facts)](facts, stays)) if text]


def _completed(until: str, *, has_moved_on: bool) -> str:
    match until:
        case Until.CHECKED:
            return _("It could take %(version)s; nothing was changed.")
        case Until.STAGED:
            return _("It has %(version)s ready; nothing was switched.")
        case _switched if has_moved_on:
            return _("It was switched to %(version)s; it runs %(now)s now.")
        case _switched:
            return _("It runs %(version)s.")


def _stopped(facts: TargetFacts) -> str:
    """Why it ended without having failed."""
    if facts.status == TargetStatus.CANCELLED:
        return _("It was stopped.")
    if facts.status != TargetStatus.SUPERSEDED:
        return ""
    if facts.stop_reason == StopReason.SUPERSEDE:
        return _("Superseded by a rollback, which decides what this instance runs.")
    return _("Superseded before the switch: the service was held.")


def _untouched(facts: TargetFacts, previous: str) -> str:
    return _("Nothing was switched; %(previous)s stayed.") if previous else _("Nothing was switched.")


def _reverted(facts: TargetFacts, previous: str) -> str:
    if facts.code == ErrorCode.CANCELLED_IN_SWITCH:
        return _("The switch to %(version)s was taken back: `current` leads to what it led to before.")
    return _("It was reverted: `current` leads to what it led to before.")


def _revert_failed(facts: TargetFacts, previous: str) -> str:
    if facts.reverted:
        return _("The way back failed: `current` leads to what it led to before, but what runs is not known.")
    return _("The way back failed: `current` leads to %(version)s still, and what runs is not known.")


def _stays(facts: TargetFacts, previous: str) -> str:
    match facts.code:
        case ErrorCode.CANCELLED_IN_SWITCH:
            return _("It was not taken back: `current` leads to %(version)s, and whether that runs is not known.")
        case ErrorCode.NOT_CONFIRMED:
            return _("It was not reverted: `current` leads to %(version)s, which nobody has confirmed.")
        case ErrorCode.VERSION_MISMATCH:
            return _("It was not reverted: `current` leads to %(version)s, but its version command says otherwise.")
        case _other:
            return _("It was not reverted: `current` leads to %(version)s, whose restart failed.")


def _unknown(facts: TargetFacts, previous: str) -> str:
    return _("What became of its switch to %(version)s is not known: sync the service to see what runs.")


def _unconfirmed(facts: TargetFacts, previous: str) -> str:
    return _("%(version)s ran, and waited to be confirmed.")


def _had_switched(facts: TargetFacts, previous: str) -> str:
    return _("It had switched to %(version)s by then.")


_FATES = {
    Fate.UNTOUCHED: _untouched,
    Fate.REVERTED: _reverted,
    Fate.REVERT_FAILED: _revert_failed,
    Fate.STAYS: _stays,
    Fate.UNKNOWN: _unknown,
    Fate.UNCONFIRMED: _unconfirmed,
    Fate.RUNS_IT: _had_switched,
}


@dataclass(frozen=True, kw_only=True)
class OperationFacts:
    """state: its status, or `stopping`. The counts are those of `deploys.operations.progress.Progress`.

    gives_way: it waits for deploys of its instances to stop. fates: of its targets that have not completed, where that is
    known. reverted_to: the version that all of the reverted ones went back to, '' when it is not one. moved_on: of the completed
    ones, how many run another version by now.
    """

    kind: str
    until: str
    version: str
    state: str
    total: int
    completed: int
    failed: int
    cancelled: int
    superseded: int
    in_progress: int
    pending: int
    gives_way: bool = False
    fates: Mapping[Fate, int] = field(default_factory=dict)
    reverted_to: str = ""
    moved_on: int = 0

    @property
    def are_all_reverted(self) -> bool:
        """To one version: the details say so, and that there is nothing to roll back."""
        return bool(self.reverted_to) and self.fates.get(Fate.REVERTED) == self.total


def operation_sentence(facts: OperationFacts) -> str:
    """What it came to, or how far it is: the headline of its page, the text of its event."""
    words = {
        "done": facts.completed,
        "total": facts.total,
        "failed": facts.failed,
        "left": facts.in_progress + facts.pending,
        "version": facts.version,
    }
    return _headline(facts) % words


def _headline(facts: OperationFacts) -> str:
    match facts.state:
        case OperationStatus.PENDING if facts.gives_way:
            return _("Waiting for a deploy to stop")
        case OperationStatus.PENDING:
            return _("Waiting for a worker")
        case "stopping":
            return _("Stopping: %(left)s unfinished")
        case OperationStatus.IN_PROGRESS if facts.failed:
            return _("%(done)s of %(total)s done, %(failed)s failed so far")
        case OperationStatus.IN_PROGRESS:
            return _("%(done)s of %(total)s done")
        case OperationStatus.COMPLETED:
            return _headline_of_completed(facts)
        case OperationStatus.FAILED:
            return _("Failed on %(failed)s of %(total)s instances")
        case _stopped if facts.superseded and not facts.cancelled:
            return _("Superseded: %(done)s of %(total)s done")
        case _stopped:
            return _("Stopped: %(done)s of %(total)s done")


def _headline_of_completed(facts: OperationFacts) -> str:
    match facts.until:
        case Until.CHECKED:
            return ngettext(
                "Checked: %(total)s instance could take %(version)s",
                "Checked: all %(total)s instances could take %(version)s",
                facts.total,
            )
        case Until.STAGED:
            return ngettext(
                "Staged: %(total)s instance has %(version)s ready",
                "Staged: all %(total)s instances have %(version)s ready",
                facts.total,
            )
        case _switched if facts.moved_on:
            return ngettext(
                "Completed: %(total)s instance was switched to %(version)s",
                "Completed: all %(total)s instances were switched to %(version)s",
                facts.total,
            )
        case _switched:
            return ngettext(
                "Completed: %(total)s instance runs %(version)s",
                "Completed: all %(total)s instances run %(version)s",
                facts.total,
            )


def operation_details(facts: OperationFacts) -> str:
    """Below the headline: what is so on its instances, or what comes next."""
    match facts.state:
        case OperationStatus.PENDING if facts.gives_way:
            return _("It starts as soon as the deploy in progress has stopped.")
        case OperationStatus.PENDING:
            return _("It starts as soon as a worker is free.")
        case "stopping":
            return _("Instances between switch and restart finish first; none is left half-switched.")
        case OperationStatus.IN_PROGRESS:
            words = {"now": facts.in_progress, "waiting": facts.pending}
            return _("%(now)s in progress, %(waiting)s waiting") % words
        case _ended if facts.until != Until.SWITCHED:
            return _("What the instances run is as it was: nothing is switched.")
        case OperationStatus.COMPLETED if facts.moved_on:
            return _moved_on(facts)
        case OperationStatus.COMPLETED if facts.kind == Kind.ROLLBACK:
            return _("All instances run the requested version again.")
        case OperationStatus.COMPLETED:
            return _("No action is needed.")
        case _ended:
            return joined(_what_is_so(facts))


def _what_is_so(facts: OperationFacts) -> Iterator[str]:
    """A sentence for each kind of end that its targets have come to, the worst last."""
    if count := facts.completed - facts.moved_on:
        text = ngettext("%(count)s runs %(version)s.", "%(count)s run %(version)s.", count)
        yield text % {"count": count, "version": facts.version}
    if facts.moved_on:
        yield _moved_on(facts)
    for fate, tell in _COUNTED.items():
        if count := facts.fates.get(fate, 0):
            yield tell(count, facts) % {"count": count, "version": facts.version, "before": facts.reverted_to}


def _moved_on(facts: OperationFacts) -> str:
    text = ngettext(
        "%(count)s was switched to %(version)s and runs another version now.",
        "%(count)s were switched to %(version)s and run another version now.",
        facts.moved_on,
    )
    return text % {"count": facts.moved_on, "version": facts.version}


def _count_reverted(count: int, facts: OperationFacts) -> str:
    if facts.are_all_reverted:
        return ngettext(
            "The instance was reverted to %(before)s; there is nothing to roll back.",
            "All %(count)s instances were reverted to %(before)s; there is nothing to roll back.",
            count,
        )
    if facts.reverted_to:
        return ngettext("%(count)s was reverted to %(before)s.", "%(count)s were reverted to %(before)s.", count)
    return ngettext(
        "%(count)s was reverted to what it ran before.", "%(count)s were reverted to what they ran before.", count
    )


_COUNTED: Mapping[Fate, Callable[[int, OperationFacts], str]] = {
    Fate.UNTOUCHED: lambda _count, _facts: _("On %(count)s nothing was switched."),
    Fate.REVERTED: _count_reverted,
    Fate.RUNS_IT: lambda _count, _facts: _("%(count)s had switched to %(version)s when a rollback took over."),
    Fate.UNCONFIRMED: lambda _count, _facts: _("%(count)s waited to be confirmed when a rollback took over."),
    Fate.STAYS: lambda count, _facts: ngettext(
        "%(count)s was not reverted: `current` leads to %(version)s there.",
        "%(count)s were not reverted: `current` leads to %(version)s there.",
        count,
    ),
    Fate.REVERT_FAILED: lambda _count, _facts: _("On %(count)s the way back failed: what runs there is not known."),
    Fate.UNKNOWN: lambda count, _facts: ngettext(
        "What %(count)s runs is not known: sync the service to see.",
        "What %(count)s run is not known: sync the service to see.",
        count,
    ),
}
