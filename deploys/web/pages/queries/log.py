"""The lines of an operation's log: by cursor, some 500 at a time, or as one long download."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet

from deploys.models import LogLine, Operation
from deploys.operations.retention import lines_deleted
from inventory.models import Instance
from inventory.security.redaction import scrub

LINES = 500
_BATCH = 2000


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """Consecutive lines. after: the cursor to go on from; before: to go back from, 0 if nothing stands earlier."""

    lines: list[LogLine]
    after: int
    before: int
    has_later: bool


def _lines(operation: Operation, instance: Instance | None) -> QuerySet[LogLine]:
    lines = LogLine.objects.filter(operation=operation).select_related("instance")
    return lines.filter(instance=instance) if instance else lines


def newest(operation: Operation, instance: Instance | None) -> LogPart:
    found = list(_lines(operation, instance).order_by("-seq")[: LINES + 1])
    lines = found[:LINES][::-1]
    return _part(lines, has_earlier=len(found) > LINES, has_later=False, cursor=0)


def after(operation: Operation, instance: Instance | None, cursor: int) -> LogPart:
    found = list(_lines(operation, instance).filter(seq__gt=cursor).order_by("seq")[: LINES + 1])
    return _part(found[:LINES], has_earlier=cursor > 0, has_later=len(found) > LINES, cursor=cursor)


def before(operation: Operation, instance: Instance | None, cursor: int) -> LogPart:
    found = list(_lines(operation, instance).filter(seq__lt=cursor).order_by("-seq")[: LINES + 1])
    return _part(found[:LINES][::-1], has_earlier=len(found) > LINES, has_later=True, cursor=cursor)


def around(operation: Operation, instance: Instance | None, line: int) -> LogPart:
    """The lines that a permanent link to one of them needs."""
    return after(operation, instance, max(0, line - LINES // 5))


def _part(lines: list[LogLine], *, has_earlier: bool, has_later: bool, cursor: int) -> LogPart:
    return LogPart(
        lines=lines,
        after=lines[-1].seq if lines else cursor,
        before=lines[0].seq if lines and has_earlier else 0,
        has_later=has_later,
    )


def whole_log(operation: Operation) -> Iterator[str]:
    """Every line as text, read in parts; the times are UTC."""
    if deleted := lines_deleted(operation):
        yield f"[{deleted:,} earlier lines are no longer kept]\n"
    cursor = 0
    while True:
        rows = list(
            LogLine.objects.filter(operation=operation, seq__gt=cursor)
            .order_by("seq")
            .values_list("seq", "at", "instance__instance_id", "step", "stream", "text")[:_BATCH]
        )
        for seq, at, instance_id, step, stream, text in rows:
            yield f"{seq}\t{at:%Y-%m-%dT%H:%M:%S}Z\t{instance_id or '-'}\t{step or '-'}\t{stream}\t{scrub(text)}\n"
        if len(rows) < _BATCH:
            return
        cursor = rows[-1][0]
