"""The demo behind `make run`."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from releasesite.demo.errors import DemoError
from releasesite.demo.run import run


class Command(BaseCommand):
    help = "Starts the system with a demo service, deploys to it, and runs until Ctrl-C. PORT: default 8000."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run(port=_port(os.environ.get("PORT") or "8000"))
        except DemoError as error:
            raise CommandError(str(error)) from error


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65_535:
        raise CommandError(f"PORT is {text!r}: it must be a number from 1 to 65535.")
    return int(text)
