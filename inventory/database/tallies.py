"""Counters and histograms of all processes together, for `/metrics`: in one table of the database.

prometheus_client's own mode for many processes keeps a file for each process on one host; workers serve no HTTP and run on
any number of hosts. So each process adds up in memory, and every few seconds adds what is new to the table, in one
statement: what is counted only rises, whoever restarts, and any web process tells of the whole system. A process that
is killed takes its last seconds with it. The table is UNLOGGED: it costs the disk nothing, and after a crash of the
database it begins from zero again, which Prometheus understands.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.util import Finalize

from django.db import Error, connection

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
MOST_SERIES = 20_000
_ADD = """
INSERT INTO inventory_tally AS t (key, value)
SELECT * FROM unnest(%s::text[], %s::float8[]) AS new(key, value) ORDER BY key
ON CONFLICT (key) DO UPDATE SET value = t.value + EXCLUDED.value
"""

Key = tuple[str, ...]
_lock = threading.Lock()
_new: defaultdict[Key, float] = defaultdict(float)
_flusher: threading.Thread | None = None
_stopping = threading.Event()


@dataclass(frozen=True, kw_only=True)
class Counter:
    """labels: their values come from sets that are bounded, whatever callers send."""

    name: str
    help: str
    labels: tuple[str, ...]

    def add(self, *labels: str, by: float = 1) -> None:
        _add({(self.name, *labels): by})


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """bounds: of its buckets, rising; beyond the last there is one more."""

    name: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]

    def observe(self, value: float, *labels: str) -> None:
        bucket = str(bisect_left(self.bounds, value))
        _add({(self.name, *labels, bucket): 1, (self.name, *labels, "sum"): value})

    def buckets(self, counts: Mapping[str, float]) -> list[tuple[str, float]]:
        """As Prometheus has them: each with what is in those before it. counts: by bucket."""
        total, cumulated = 0.0, []
        for number, bound in enumerate((*self.bounds, math.inf)):
            total += counts.get(str(number), 0)
            cumulated.append(("+Inf" if bound == math.inf else f"{bound:g}", total))
        return cumulated


def _add(values: Mapping[Key, float]) -> None:
    with _lock:
        for key, value in values.items():
            if key in _new or len(_new) < MOST_SERIES:
                _new[key] += value


def flush() -> None:
    """What this process has counted, into the table. A database that takes no writes gets it later."""
    with _lock:
        values = dict(_new)
        _new.clear()
    if not values:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute(_ADD, [[json.dumps(key) for key in values], list(values.values())])
    except Error:
        _add(values)
        raise


def totals() -> dict[str, dict[Key, float]]:
    """By name, then by label values (of a histogram with the bucket behind them)."""
    found: dict[str, dict[Key, float]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute("SELECT key, value FROM inventory_tally")
        for text, value in cursor.fetchall():
            name, *labels = json.loads(text)
            found[name][tuple(labels)] = value
    return found


def flush_regularly() -> None:
    """In a thread of this process, from now to its end. Not inherited by a fork: the child calls it itself."""
    global _flusher
    if _flusher is not None and _flusher.is_alive():
        return
    _flusher = threading.Thread(target=_flush_for_ever, name="tallies", daemon=True)
    _flusher.start()
    Finalize(None, _flush_at_the_end, args=(os.getpid(),), exitpriority=1)


def _flush_for_ever() -> None:
    while not _stopping.wait(FLUSH_SECONDS):
        _try_to_flush()


def _flush_at_the_end(pid: int) -> None:
    if pid == os.getpid():
        _stopping.set()
        _try_to_flush()


def _try_to_flush() -> None:
    """With a connection of its own for as long as that takes: connections are scarce, and this can wait."""
    try:
        flush()
    except Exception as error:
        logger.debug("what was counted is kept for later: %s", error)
    finally:
        with contextlib.suppress(Error):
            connection.close()


def _after_fork() -> None:
    """What the parent has counted is the parent's to tell."""
    global _flusher, _lock
    _lock, _flusher = threading.Lock(), None
    _new.clear()


os.register_at_fork(after_in_child=_after_fork)


def series(values: Mapping[Key, float], metric: Histogram) -> Iterator[tuple[Sequence[str], Mapping[str, float]]]:
    """A histogram's label values, each with its counts by bucket and its sum."""
    by_labels: defaultdict[Key, dict[str, float]] = defaultdict(dict)
    for (*labels, bucket), value in values.items():
        by_labels[tuple(labels)][bucket] = value
    yield from sorted(by_labels.items())
