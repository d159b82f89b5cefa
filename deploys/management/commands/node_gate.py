"""`manage.py node_gate NODE`: prints the forced command for that node's authorized_keys (docs/security.md)."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deploys.node import gate
from deploys.node.gate import Allowed
from inventory.models import Delivery, Instance, Node


class Command(BaseCommand):
    help = "Print a script that lets nothing but our own programs through, for this node's authorized_keys."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("node")
        parser.add_argument(
            "--also-program",
            action="append",
            default=[],
            type=_digest,
            metavar="SHA256",
            help="a node program of another version, for the time of an upgrade; may be given several times",
        )
        parser.add_argument(
            "--digest", action="store_true", help="print the SHA-256 of this version's programs alone, one a line"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["digest"]:
            self.stdout.write("\n".join(gate.program_digests()))
            return
        node = Node.objects.listed().filter(name=options["node"]).first()
        if node is None:
            raise CommandError(f"there is no node {options['node']!r}")
        pulls = node.delivery == Delivery.PULL
        self.stdout.write(gate.gate(_allowed(node), pulls=pulls, also_programs=options["also_program"]))


def _allowed(node: Node) -> list[Allowed]:
    instances = Instance.objects.listed().filter(node=node).select_related("service").order_by("natural_key")
    return [
        Allowed(
            root=instance.deploy_root,
            commands=(
                instance.service.restart_command,
                instance.service.before_switch_command,
                instance.service.version_command,
            ),
        )
        for instance in instances
    ]


def _digest(value: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", value) is None:
        raise ArgumentTypeError("is no SHA-256")
    return value
