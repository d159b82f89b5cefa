"""The competitors' own venv, made from requirements-bench.txt and kept beside ours."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
LOCK = CHECKOUT / "requirements-bench.txt"
VENV = CHECKOUT / "var" / "bench-venv"


def tool(name: str) -> str:
    """The path of a program of theirs, installed now if it is not yet."""
    _install()
    return str(VENV / "bin" / name)


def _install() -> None:
    stamp = VENV / LOCK.name
    if stamp.exists() and filecmp.cmp(stamp, LOCK, shallow=False):
        return
    print(f"bench: installing {LOCK.name} into {VENV} (about a minute, once)", file=sys.stderr)
    subprocess.run((sys.executable, "-m", "venv", "--clear", str(VENV)), check=True)
    pip = (str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input")
    subprocess.run((*pip, "--require-hashes", "--requirement", str(LOCK)), check=True)
    shutil.copy(LOCK, stamp)
