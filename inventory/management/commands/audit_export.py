"""`manage.py audit_export`: the audit as JSON lines, oldest first."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from inventory.security import audit


class Command(BaseCommand):
    help = "Write the audit as JSON lines to stdout, oldest first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--after", type=int, default=0, metavar="ID", help="only entries with a higher id")

    def handle(self, *args: Any, **options: Any) -> None:
        for entry in audit.entries(after=options["after"]):
            self.stdout.write(json.dumps(audit.as_json(entry)))
