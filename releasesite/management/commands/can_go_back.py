"""`release-server can_go_back VERSION`: whether that version may run over the schema of this one (scripts/install.sh --back)."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deploys.operations.old_workers import beyond_old_workers
from releasesite import __version__, schema_versions


class Command(BaseCommand):
    help = "Says whether an older version may run over the database's schema as it is. Exit status 1: it may not."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("version_before", metavar="VERSION")

    def handle(self, *, version_before: str, **options: Any) -> None:
        newer = schema_versions.unknown()
        if newer:
            raise CommandError(
                f"The database was migrated by a version newer than {__version__} ({newer[-1]}): ask that one, "
                "its release-server can_go_back knows."
            )
        try:
            may = schema_versions.may_run_over_this_schema(version_before)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if not may:
            raise CommandError(
                f"{version_before} can't run over the schema of {__version__}; {schema_versions.OLDEST_OVER_THIS_SCHEMA} "
                "and newer can. To go back further, restore the dump from before the upgrade."
            )
        if not schema_versions.knows_how_far(version_before) and (waiting := beyond_old_workers()):
            raise CommandError(
                f"{version_before} knows neither `until` nor `confirm_within`, and would switch for good what is not to be: "
                f"{', '.join(waiting)}. Cancel it, or wait for its end."
            )
        self.stdout.write(f"{version_before} may run over the schema of {__version__}.")
