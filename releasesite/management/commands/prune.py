"""`manage.py prune`: run it from a timer."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from releasesite.retention import prune

MOST_DAYS = 36_500


class Command(BaseCommand):
    help = (
        "Deletes old log lines, operations, sessions, login attempts and webhook deliveries, in small steps, and says how "
        "many. Never the audit, packages, anything unfinished, or what tells how an instance came to what it runs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say how many, and delete nothing")
        parser.add_argument("--logs-days", type=int, default=90, help="keep logs and login attempts so long (90)")
        parser.add_argument("--operations-days", type=int, default=730, help="keep ended operations so long (730)")

    def handle(self, *, dry_run: bool, logs_days: int, operations_days: int, **options: Any) -> None:
        if not 1 <= logs_days <= operations_days <= MOST_DAYS:
            raise CommandError(
                f"--logs-days and --operations-days must be from 1 to {MOST_DAYS}, and the first not above the second: "
                "a log goes with its operation."
            )
        self.stdout.write("Dry run: nothing is deleted. It would be:" if dry_run else "Deleted:")
        for pruned in prune(logs_days=logs_days, operations_days=operations_days, dry_run=dry_run):
            self.stdout.write(f"{pruned.count:>12,}  {pruned.what}")
