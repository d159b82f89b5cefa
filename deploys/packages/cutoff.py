"""Ends blocking network calls from outside: at a deadline, when too little comes, or when the caller wants to stop.

The work runs in a thread of its own; the caller's thread polls `should_stop`, hands on notes, and shuts the socket the
work is blocked on. So callbacks are only ever called in the caller's thread.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from typing import TypeVar

from deploys.packages.speed import LowestSpeed, Meter
from inventory.told import Told

T = TypeVar("T")

_POLL_SECONDS = 0.1
# A name look-up can't be ended; its thread is left behind, and finds out as soon as the answer comes.
_GRACE_SECONDS = 1.0


class Cut(Exception):
    """Raised in the work's thread: it was cut off."""


class TooSlow(Exception):
    """Raised in the work's thread: the connection brought less than the lowest speed. The message says how much."""


class DeadlinePassed(Exception):
    """Raised in the caller's thread."""


class Stopped(Exception):
    """Raised in the caller's thread: `should_stop()` said so."""


class Cutoff:
    """Between the two threads: the work's socket, whether to go on, and the work's notes."""

    def __init__(self, lowest: LowestSpeed) -> None:
        self.notes: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self._lowest = lowest
        self._is_cut = threading.Event()
        self._lock = threading.Lock()
        self._watched: socket.socket | None = None
        self._is_measuring = False
        self._meter: Meter | None = None
        self._slowness = ""

    def watch(self, sock: socket.socket) -> None:
        """`cut()` shuts this one. A duplicate is kept: wrapping a socket in TLS leaves the object without its own."""
        with self._lock:
            self._close()
            self._watched = sock.dup()
            self._measure()
        self.check()

    @contextmanager
    def measured(self) -> Iterator[None]:
        """While this lasts the watched connection must bring enough, or it is shut. Raises TooSlow in its end's place."""
        with self._lock:
            self._is_measuring, self._slowness = True, ""
            self._measure()
        try:
            yield
        finally:
            with self._lock:
                self._is_measuring, self._meter = False, None
            self.check()
            if self._slowness:
                raise TooSlow(self._slowness)

    def shut_if_slow(self) -> None:
        with self._lock, suppress(OSError):
            if self._watched is None or self._meter is None or self._slowness:
                return
            self._slowness = self._meter.slowness()
            if self._slowness:
                self._watched.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        with self._lock:
            self._close()

    def cut(self) -> None:
        self._is_cut.set()
        with self._lock, suppress(OSError):
            if self._watched is not None:
                self._watched.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        if self._is_cut.is_set():
            raise Cut

    def sleep(self, seconds: float) -> None:
        if self._is_cut.wait(seconds):
            raise Cut

    def _measure(self) -> None:
        if self._is_measuring and self._watched is not None:
            self._meter = Meter(self._watched, self._lowest)

    def _close(self) -> None:
        self._meter = None
        if self._watched is not None:
            self._watched.close()
            self._watched = None


def run(
    work: Callable[[Cutoff], T],
    *,
    should_stop: Callable[[], bool],
    on_note: Callable[[Told], None],
    deadline_seconds: float,
    lowest: LowestSpeed,
) -> T:
    """`work(cutoff)`'s result or exception. Raises `Stopped` or `DeadlinePassed` within about a second of the cause."""
    cutoff = Cutoff(lowest)
    outcome: Future[T] = Future()
    threading.Thread(target=_settle, args=(outcome, work, cutoff), name="download", daemon=True).start()
    deadline = time.monotonic() + deadline_seconds
    try:
        while not wait([outcome], _POLL_SECONDS).done:
            _hand_on(cutoff.notes, on_note)
            cutoff.shut_if_slow()
            if should_stop():
                raise Stopped
            if time.monotonic() > deadline:
                raise DeadlinePassed
        _hand_on(cutoff.notes, on_note)
        return outcome.result()
    finally:
        cutoff.cut()
        wait([outcome], _GRACE_SECONDS)


def _settle(outcome: Future[T], work: Callable[[Cutoff], T], cutoff: Cutoff) -> None:
    try:
        outcome.set_result(work(cutoff))
    except BaseException as error:
        outcome.set_exception(error)
    finally:
        cutoff.release()


def _hand_on(notes: queue.SimpleQueue[Told], on_note: Callable[[Told], None]) -> None:
    with suppress(queue.Empty):
        while True:
            on_note(notes.get_nowait())
