"""`release-server`, and `manage.py` in a checkout: the same commands, over the same configuration."""

from __future__ import annotations

import os
import sys

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
    execute_from_command_line(sys.argv)
