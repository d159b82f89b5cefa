"""`manage.py import_inventory FILE.yaml [--dry-run]` (CONTRACT.md, "Inventory file")."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inventory.actors import Actor, ActorKind
from inventory.editing.file.apply import import_inventory
from inventory.editing.file.document import InventoryFileError
from inventory.editing.file.read import MAX_BYTES


class Command(BaseCommand):
    help = "Create or update services, nodes and instances from a YAML file. Never deletes; all or nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE.yaml", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        try:
            report = import_inventory(_read(file), filename=str(file), actor=_actor(), dry_run=options["dry_run"])
        except InventoryFileError as error:
            raise CommandError(_refusal(error)) from error
        for line in report.lines():
            self.stdout.write(line)
        self.stdout.write(report.summary)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            # One byte more than is allowed shows that there are too many.
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{file}: can't be read: {error.strerror}") from error


def _refusal(error: InventoryFileError) -> str:
    count = len(error.problems)
    details = "\n".join(problem.detail for problem in error.problems)
    return f"{details}\nnothing was changed: {count} problem{'s' if count > 1 else ''}"


def _actor() -> Actor:
    """Whoever is logged in on this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "unknown"
    return Actor(kind=ActorKind.SYSTEM, name=f"{name} (command line)")
