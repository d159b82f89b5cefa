"""Holding back what a program prints: its channel or pipe is not read meanwhile, so that the program itself has to wait."""

from __future__ import annotations

from collections.abc import Callable


class Flow:
    """Of one call; `hold` and `release` may come before it reads, and after it has ended.

    Several may hold it at once, each known by its own object. Other calls to the same node go on.
    is_counted: false while who reads throws away what comes, and sees to the pace itself; no bound of bytes counts then.
    """

    def __init__(self) -> None:
        self.is_counted = True
        self._holders: set[object] = set()
        self._pause: Callable[[], None] = _nothing
        self._resume: Callable[[], None] = _nothing

    @property
    def is_held(self) -> bool:
        return bool(self._holders)

    def hold(self, holder: object) -> None:
        was_held = self.is_held
        self._holders.add(holder)
        if not was_held:
            self._pause()

    def release(self, holder: object) -> None:
        was_held = self.is_held
        self._holders.discard(holder)
        if was_held and not self.is_held:
            self._resume()

    def drive(self, *, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """For the transport: how what it reads from is held back, and let go. Both may come once that is closed."""
        self._pause, self._resume = pause, resume
        if self.is_held:
            pause()


def _nothing() -> None:
    return
