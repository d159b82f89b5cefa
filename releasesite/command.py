"""`release-server`, and `manage.py` in a checkout: the same commands, over the same configuration."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.core.management import execute_from_command_line

from releasesite import __version__
from releasesite.env_file import VARIABLE

NAME = "release-server"


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "releasesite.settings")
    if sys.argv[1:2] in (["--version"], ["version"]):
        print(f"{NAME} {__version__}")
        return
    if sys.argv[1:2] == ["demo"]:
        os.environ[VARIABLE] = os.devnull  # never over what this machine is configured for
    if Path(sys.argv[0]).name == NAME and sys.argv[1:2] in (["web"], ["worker"]):
        _check_before_start()
    execute_from_command_line(sys.argv)


def _check_before_start() -> None:
    """In production. A checkout's manage.py starts at once: `make run` has its own way of telling what is wrong."""
    django.setup()
    from releasesite.checks import before_a_start

    before_a_start()
