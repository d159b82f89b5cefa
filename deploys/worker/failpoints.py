"""Failpoints: named points at which a test can hold a worker (FAULTS.md). Without RELEASE_FAULT_DIR they cost one look-up."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

FAULT_DIR = "RELEASE_FAULT_DIR"
_POLL_SECONDS = 0.01


async def pause_at(step: str) -> None:
    """While `<RELEASE_FAULT_DIR>/<step>.hold` exists, wait; `<step>.reached` has our process id then."""
    folder = os.environ.get(FAULT_DIR)
    if not folder:
        return
    hold = Path(folder, f"{step}.hold")
    if not hold.exists():
        return
    reached = Path(folder, f"{step}.reached")
    unfinished = reached.with_suffix(f".{os.getpid()}")
    unfinished.write_text(str(os.getpid()))
    unfinished.replace(reached)
    while hold.exists():
        await asyncio.sleep(_POLL_SECONDS)
