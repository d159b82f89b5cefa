"""Create an API token and print it, this once."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from inventory.models import Service
from releasesite.models import ApiToken, TokenScope, validate_network


class Command(BaseCommand):
    help = "Makes an API token and prints it once, alone on the last line of stdout. Only its hash is stored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="who uses it, as operations will name it")
        parser.add_argument("--scope", required=True, choices=TokenScope.values)
        parser.add_argument("--service", action="append", default=[], help="limits it to this service; repeatable")
        parser.add_argument("--expires-days", type=int, help="default: it does not expire")
        parser.add_argument("--network", action="append", default=[], help="CIDR it may come from; repeatable")

    def handle(self, *args: Any, **options: Any) -> None:
        token, secret = ApiToken.objects.issue(
            name=_name(options["name"]),
            scope=options["scope"],
            services=_services(options["service"]),
            expires_in=_lifetime(options["expires_days"]),
            allowed_networks=_networks(options["network"]),
        )
        services = ", ".join(options["service"]) or "all services"
        until = token.expiry.date().isoformat() if token.expiry else "revoked"
        self.stderr.write(f"Token {token.name!r}: scope {token.scope}, {services}, good until {until}.")
        self.stdout.write(secret)


def _name(name: str) -> str:
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise CommandError("The name must have 1 to 100 printable characters.")
    return name


def _services(names: list[str]) -> list[Service]:
    found = list(Service.objects.filter(name__in=names))
    missing = sorted(set(names) - {service.name for service in found})
    if missing:
        raise CommandError(f"No such service: {', '.join(missing)}. No token has been made.")
    return found


def _lifetime(days: int | None) -> timedelta | None:
    if days is None:
        return None
    if not 1 <= days <= 3650:
        raise CommandError("--expires-days must be between 1 and 3650.")
    return timedelta(days=days)


def _networks(networks: list[str]) -> list[str]:
    for network in networks:
        try:
            validate_network(network)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
    return networks
