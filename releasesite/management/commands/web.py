"""`release-server web`: gunicorn with our configuration, in the place of this process."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

DEFAULT = "127.0.0.1:8000"


class Command(BaseCommand):
    help = "Serves pages and API until SIGTERM. More of gunicorn's options: in GUNICORN_CMD_ARGS."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--bind", action="append", metavar="ADDRESS", help=f"repeatable; default: {DEFAULT}")

    def handle(self, *, bind: list[str] | None, **options: Any) -> None:
        os.chdir(settings.BASE_DIR)  # where gunicorn.conf.py is, and in a checkout the packages
        addresses = [f"--bind={address}" for address in bind or [DEFAULT]]
        os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "releasesite.wsgi", *addresses])  # noqa: S606
