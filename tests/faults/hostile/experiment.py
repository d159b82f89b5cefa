"""Deploys to liars, and meanwhile to honest instances; what came of it, and what of that may not be."""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from django.db import connection, connections
from django.db.models import Count

from deploys.error_codes import ErrorCode
from deploys.models import LogLine, Operation, Target
from deploys.operations.cancel import cancel_operation
from deploys.states import TERMINAL, Kind, TargetStatus
from inventory.errors import ReleaseError
from tests.faults.hostile.fleet import Fleet
from tests.faults.hostile.memory import forget_peak, peak
from tests.faults.hostile.readings import Readings, read_apart
from tests.faults.hostile.site import HONEST_SECONDS, Site
from tests.support.database import process_environment
from tests.support.fleet import SCHEDULER

ALONE_ROUNDS = 3
# After so long those that hang are cancelled, as an operator would do; silent ones end by that.
CANCEL_SECONDS = 14.0
END_SECONDS = 90.0
LONGEST_MESSAGE = 2_000
HIGHEST_FENCE = 10**6
LONGEST_LINE = 16 * 1024
HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


@dataclass(kw_only=True)
class Result:
    """alone_seconds: the median of one honest deploy; beside_seconds: of each beside the liars."""

    liars: int
    targets: int = 0
    alone_seconds: float = 0.0
    beside_seconds: list[float] = field(default_factory=list)
    rollback_seconds: float = 0.0
    ended_seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    memory_bytes: int = 0
    rows: int = 0
    most_rows: int = 0
    median_rows: float = 0.0
    table_bytes: int = 0
    attempts: int = 0
    most_attempts: int = 0
    most_calls: int = 0
    log_bytes: int = 0
    readings: Readings | None = None
    ends: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def slowest_seconds(self) -> float:
        return max(self.beside_seconds)

    @property
    def median_seconds(self) -> float:
        return statistics.median(self.beside_seconds)


def measure_alone(here: Site) -> float:
    return statistics.median(here.deploy_honestly(f"alone{number}") for number in range(ALONE_ROUNDS))


def run(here: Site, fleet: Fleet, *, alone_seconds: float) -> Result:
    """All that the liars' deploy does to the worker and to the honest service's deploys beside it."""
    result = Result(liars=len(fleet.liars), alone_seconds=alone_seconds)
    before = forget_peak(here.worker.pid)
    table_bytes, log_bytes = _table_bytes(), here.log.stat().st_size
    operations = here.begin()
    with _ended(operations, result):
        _work_honestly(here, operations, result)
    result.memory_bytes = max(0, peak(here.worker.pid) - before)
    result.table_bytes, result.log_bytes = _table_bytes() - table_bytes, here.log.stat().st_size - log_bytes
    _look_at(operations, fleet, result)
    result.violations += here.honest_failures
    if highest_fence() > HIGHEST_FENCE:
        result.violations.append(f"a liar pushed everyone's fence to {highest_fence()}")
    result.violations += [f"the worker's log has {found!r}" for found in _hidden(here.log.read_text(errors="replace"))]
    return result


def _work_honestly(here: Site, operations: Sequence[Operation], result: Result) -> None:
    """As long as the liars' operations go on, once at least; one deploy that does not end is enough."""
    until = time.monotonic() + END_SECONDS
    while not result.beside_seconds or (_unfinished(operations) and time.monotonic() < until):
        result.beside_seconds.append(here.deploy_honestly(f"beside{len(result.beside_seconds)}"))
        if result.slowest_seconds >= HONEST_SECONDS:
            return
    result.rollback_seconds = here.roll_back_honestly()


def read(here: Site, fleet: Fleet, result: Result) -> Readings:
    """A sync of all liars, and the test of a connection to each."""
    told = read_apart(here.lying.pk, process_environment(**here.variables))
    names = {liar.name: f"{liar.kind}: {liar.what}" for liar in fleet.liars}
    for name, error in told.errors.items():
        if len(error) > LONGEST_MESSAGE or HIDDEN.search(error):
            result.violations.append(f"{names[name]}: the test of its connection says {error[:100]!r}")
    return told


@contextmanager
def _ended(operations: Sequence[Operation], result: Result) -> Iterator[None]:
    """Waits beside the block until they have ended, cancels those that hang, and notes how long it took."""

    def wait() -> None:
        began = time.monotonic()
        is_cancelled = False
        while (unfinished := _unfinished(operations)) and time.monotonic() - began < END_SECONDS:
            if not is_cancelled and time.monotonic() - began > CANCEL_SECONDS:
                is_cancelled = True
                for operation in unfinished:
                    _cancel(operation)
            time.sleep(0.1)
        result.ended_seconds = time.monotonic() - began
        connections.close_all()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _cancel(operation: Operation) -> None:
    with suppress(ReleaseError):  # it has just ended
        cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)


def _unfinished(operations: Sequence[Operation]) -> list[Operation]:
    return list(Operation.objects.filter(pk__in=[each.pk for each in operations], finished_at=None))


def _look_at(operations: Sequence[Operation], fleet: Fleet, result: Result) -> None:
    names = {liar.name: f"{liar.kind}: {liar.what}" for liar in fleet.liars}
    targets = list(Target.objects.filter(operation__in=operations).select_related("instance__node"))
    lines = LogLine.objects.filter(operation__in=operations)
    of_each = lines.exclude(instance=None).values("instance").annotate(rows=Count("pk")).values_list("rows", flat=True)
    result.targets, result.rows = len(targets), lines.count()
    result.most_rows, result.median_rows = max(of_each), statistics.median(of_each)
    result.attempts = sum(target.claims for target in targets)
    result.most_attempts = max(target.claims for target in targets)
    for target in targets:
        result.outcomes[f"{target.status} {target.error_code}".strip()] += 1
        name = names.get(target.instance.node.name, target.instance.instance_id)
        result.ends.append(f"{name}: {target.status} in step {target.step}: {target.error_message}")
        result.violations += [f"{name}: {wrong}" for wrong in _wrong_with(target)]
    for text in lines.values_list("text", flat=True).iterator():
        if len(text) > LONGEST_LINE or HIDDEN.search(text):
            result.violations.append(f"a log line of {len(text)} characters: {text[:100]!r}")
            break


def _wrong_with(target: Target) -> Iterator[str]:
    message = target.error_message
    if target.status not in TERMINAL:
        yield f"has not ended: {target.status} in step {target.step}, {target.claims} claims"
    if target.status == TargetStatus.FAILED and ErrorCode.named(target.error_code) is None:
        yield f"no such error code: {target.error_code!r}"
    if target.status == TargetStatus.FAILED and not message:
        yield "failed without a word"
    if len(message) > LONGEST_MESSAGE or HIDDEN.search(message):
        yield f"a message of {len(message)} characters: {message[:100]!r}"
    if "in the worker; its log has the details" in message:
        yield f"not foreseen: {message}"


def _hidden(text: str) -> Sequence[str]:
    return sorted(set(HIDDEN.findall(text)))[:5]


def _table_bytes() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('deploys_logline')")
        row: tuple[int] = cursor.fetchone()
    return row[0]


def highest_fence() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM deploys_fence")
        row: tuple[int] = cursor.fetchone()
    return row[0]
