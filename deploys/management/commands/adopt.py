"""`manage.py adopt SERVICE [--dry-run]`: what another tool has left on a service's nodes (docs/nodes.md)."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deploys.web.pages.queries.adoption import known_versions
from inventory.instances.adoption import lines, survey_service
from inventory.instances.sync import sync_service
from inventory.models import Service


class Command(BaseCommand):
    help = "Show what is in the deploy roots of a service, and record what runs there as the version before our first deploy."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("service")
        parser.add_argument("--dry-run", action="store_true", help="only show; record nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        service = Service.objects.filter(name=options["service"]).first()
        if service is None:
            raise CommandError(f"there is no service {options['service']!r}")
        surveyed = survey_service(service)
        known = known_versions(service)
        for each in surveyed:
            instance = each.instance
            self.stdout.write(f"{instance.instance_id}  {instance.node.name}:{instance.deploy_root}")
            for line in lines(each, known=known):
                self.stdout.write(f"  {line}")
        if not surveyed:
            self.stdout.write("The service has no instances.")
        elif options["dry_run"]:
            self.stdout.write("Dry run: nothing was recorded. Nothing is ever changed on the nodes.")
        elif sync_service(service.pk) is None:
            raise CommandError("a sync of the service is in progress; it records the same")
        else:
            self.stdout.write("Recorded. Nothing was changed on the nodes.")
