"""Python imports this by its name at its start, before anything else: its clock is wrong from then on.

So it is in the processes that it forks, and in those that it starts with its environment. The monotonic clock stays
right, as with any clock that is merely set wrong; so does the clock of what is not Python.
"""

from __future__ import annotations

import ctypes
import datetime
import gc
import os
import time

SECONDS = float(os.environ["TEST_CLOCK_OFF_BY_SECONDS"])
SHIFT = datetime.timedelta(seconds=SECONDS)

_time, _time_ns, _now = time.time, time.time_ns, datetime.datetime.now


def _shifted_now(cls: type[datetime.datetime], tz: datetime.tzinfo | None = None) -> datetime.datetime:
    return _now(tz) + SHIFT


def _shifted_utcnow(cls: type[datetime.datetime]) -> datetime.datetime:
    return _now(datetime.UTC).replace(tzinfo=None) + SHIFT


time.time = lambda: _time() + SECONDS
time.time_ns = lambda: _time_ns() + int(SECONDS * 1e9)
# A built-in type takes no new attributes, but its dictionary does.
_attributes = gc.get_referents(datetime.datetime.__dict__)[0]
_attributes["now"] = classmethod(_shifted_now)
_attributes["utcnow"] = classmethod(_shifted_utcnow)
ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))
