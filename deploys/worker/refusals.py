"""A batch that the database refuses is written in parts, so that what it refuses concerns its own target alone."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from deploys.told import Told
from deploys.told import marked as _
from deploys.worker.batch import Batch, Event, Line, MoveRequest, PermitRequest, StepChange
from deploys.worker.switch_permits import Permit

logger = logging.getLogger(__name__)

# Of one owner in one batch: the rest of its events is dropped then.
MOST_REFUSALS = 3


class EventRefused(Exception):
    """The database will never store an event of this target's. is_end: what it refused is the end."""

    def __init__(self, event: Event, error: Exception) -> None:
        self.is_end = isinstance(event, MoveRequest)
        self.told = Told(_text(event), {"error": type(error).__name__})
        super().__init__(str(self.told))


@dataclass(kw_only=True)
class Written:
    """What came of a batch. moved: targets; log_sizes: lines and bytes by operation; refused: by owner."""

    moved: set[int] = field(default_factory=set)
    permits: dict[int, Permit] = field(default_factory=dict)
    log_sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    refused: dict[int, EventRefused] = field(default_factory=dict)

    def add(self, other: Written) -> None:
        self.moved |= other.moved
        self.permits |= other.permits
        self.log_sizes |= other.log_sizes


def write_in_parts(batch: Batch, write: Callable[[Batch], Written]) -> Written:
    """Write it whole, or else halves of it, and halves of these. An event that is refused alone is logged and left out.

    A target of which something was refused neither ends nor gets its permit by this batch.
    """
    written, refusals = Written(), Counter[int]()

    def write_part(part: Batch) -> None:
        part = part.without(written.refused, MoveRequest, PermitRequest)
        part = part.without([owner for owner, count in refusals.items() if count >= MOST_REFUSALS], *_ALL)
        if not part.events:
            return
        try:
            written.add(write(part))
        except Exception as error:
            if len(part.events) > 1:
                for half in part.halves():
                    write_part(half)
                return
            (event,) = part.events
            refusals[event.owner] += 1
            written.refused.setdefault(event.owner, EventRefused(event, error))
            logger.exception("The database refuses an event; it is left out, and its target fails: %r", event)

    write_part(batch)
    return written


_ALL = (Line, StepChange, MoveRequest, PermitRequest)


def _text(event: Event) -> str:
    match event:
        case Line():
            return _("The database refused a line of its log (%(error)s); the worker's log has the details.")
        case MoveRequest():
            return _("The database refused its end (%(error)s); the worker's log has the details.")
        case _other:
            return _("The database refused its progress (%(error)s); the worker's log has the details.")
