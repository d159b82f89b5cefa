"""`manage.py after_restore`: what a restored database holds, before a worker goes on with it."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from deploys.models import Operation
from deploys.operations.restored import accept, is_restored
from inventory.actors import SYSTEM
from inventory.models import AuditEntry
from inventory.security import audit
from releasesite import schema_versions
from releasesite.site_files import COMMAND


class Command(BaseCommand):
    help = "Says how old a restored database is and what would go on in it, and proves its audit."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--database", metavar="NAME", help="another one on the same server: a rehearsal's")
        parser.add_argument("--resume", action="store_true", help="let the workers go on with it")

    def handle(self, *, database: str | None, resume: bool, **options: Any) -> None:
        if database:
            connection.settings_dict["NAME"] = database
        if schema_versions.missing():
            raise CommandError("The database is older than this code: run migrate first.")
        self._describe()
        if resume:
            accept()
            audit.record(actor=SYSTEM, action="database.resume", object_kind="database", object_id="")
            self.stdout.write("workers go on")
        elif is_restored() and not database:
            self.stdout.write(f"workers wait until you say: {COMMAND} after_restore --resume")

    def _describe(self) -> None:
        newest = AuditEntry.objects.order_by("-pk").values_list("at", flat=True).first()
        self.stdout.write(f"newest entry of the audit: {newest:%Y-%m-%d %H:%M:%S} UTC" if newest else "an empty audit")
        call_command("audit_verify", stdout=self.stdout)
        unfinished = Operation.objects.filter(finished_at=None).select_related("service").order_by("pk")
        self.stdout.write(f"unfinished operations, which workers go on with: {len(unfinished)}")
        for each in unfinished:
            self.stdout.write(
                f"  {each.kind} {each.public_id}: {each.service.name} {each.version}, {each.total} instances, "
                f"asked for by {each.requested_by} at {each.started_at:%Y-%m-%d %H:%M:%S} UTC"
            )
