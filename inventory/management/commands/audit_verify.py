"""`manage.py audit_verify`: reads the whole audit and says where it was broken. Exit status 1 if it was."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inventory.security import audit


class Command(BaseCommand):
    help = "Recompute the audit's hash chain; say where it was broken."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--head", default="", metavar="HASH", help="a hash printed by an earlier run: it must be there still"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        verdict = audit.verify(known_head=options["head"])
        if verdict.broken is not None:
            raise CommandError(
                f"audit broken at entry {verdict.broken.entry_id}: {verdict.broken.reason}; "
                f"the {verdict.count} entries before it are intact"
            )
        if not verdict.has_known_head:
            raise CommandError(
                f"audit cut off: no entry has the hash {options['head']}; its end was removed or the whole rewritten"
            )
        self.stdout.write(f"audit intact: {verdict.count} entries, head {verdict.head or '(none)'}")
