"""Ctrl-C and SIGTERM: the first one ends the work, another one ends the patience."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from types import FrameType

from releasesite.demo.errors import Interrupted

# A terminal, make and timeout may each pass on the same Ctrl-C.
ECHO_SECONDS = 1.0


@dataclass(kw_only=True)
class StopSignals:
    stopping_since: float | None = None
    hurry: bool = False

    def listen(self) -> None:
        """Explicitly, since a shell starts background jobs with SIGINT ignored. From the main thread only."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._receive)

    def begin_stop(self) -> None:
        """From here on no signal interrupts: what was started is stopped in order."""
        self.stopping_since = self.stopping_since or time.monotonic()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.stopping_since is None:
            self.begin_stop()
            raise Interrupted
        self.hurry = self.hurry or time.monotonic() - self.stopping_since > ECHO_SECONDS
