"""What is so on the node of a target that has ended, told from what its row says of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from deploys.error_codes import ErrorCode
from deploys.states import ACTIVE, Step, StopReason, TargetStatus


class Fate(Enum):
    """What is so on a target's node, as far as its operation knows."""

    WAITING = auto()
    AT_WORK = auto()
    UNCONFIRMED = auto()
    RUNS_IT = auto()
    UNTOUCHED = auto()
    REVERTED = auto()
    REVERT_FAILED = auto()
    STAYS = auto()
    UNKNOWN = auto()


# Behind the link: an error here without a word on the way back is of a switch whose end nobody has heard.
_BEHIND_THE_LINK = (Step.RESTART, Step.VERIFY, Step.CONFIRM, Step.REVERT, Step.CLEAN_UP)
# At the link itself, what is not the node's own answer.
_UNHEARD = (
    ErrorCode.NODE_UNREACHABLE, ErrorCode.NODE_HOST_KEY_MISMATCH, ErrorCode.NODE_UNSUITABLE, ErrorCode.JUMP_UNREACHABLE,
    ErrorCode.JUMP_HOST_KEY_MISMATCH, ErrorCode.NOT_CONFIRMED, ErrorCode.CANCELLED_IN_SWITCH, ErrorCode.WORKER_LOST,
    ErrorCode.INTERNAL_ERROR,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """Of a target, as its row or an event says it. code: '' without an error. stop_reason: '' where that is not known."""

    status: str
    step: str
    reverted: bool | None
    code: str
    stop_reason: str = StopReason.SUPERSEDE


def fate_of(facts: TargetFacts) -> Fate:
    if facts.status == TargetStatus.PENDING:
        return Fate.WAITING
    if facts.status == TargetStatus.IN_PROGRESS:
        return Fate.UNCONFIRMED if facts.step == Step.CONFIRM else Fate.AT_WORK
    if facts.status == TargetStatus.COMPLETED:
        return Fate.RUNS_IT
    return _fate_of_ended(facts)


def _fate_of_ended(facts: TargetFacts) -> Fate:
    if facts.code == ErrorCode.REVERT_FAILED:
        return Fate.REVERT_FAILED
    if facts.reverted is not None:
        return Fate.REVERTED if facts.reverted else Fate.STAYS
    if not facts.code:
        # A rollback took over from a switch that had ended well, or that waited to be confirmed.
        return {Step.DONE.value: Fate.RUNS_IT, Step.CONFIRM.value: Fate.UNCONFIRMED}.get(facts.step, Fate.UNTOUCHED)
    is_unheard = facts.step == Step.SWITCH and facts.code in _UNHEARD
    return Fate.UNKNOWN if is_unheard or facts.step in _BEHIND_THE_LINK else Fate.UNTOUCHED


def fates(targets: Iterable[TargetFacts]) -> Mapping[Fate, int]:
    """Of those that have ended, and not completed."""
    ended = (each for each in targets if each.status not in (*ACTIVE, TargetStatus.COMPLETED))
    return Counter(fate_of(each) for each in ended)
