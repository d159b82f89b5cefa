"""`manage.py node_tunnel NODE`: prints what makes that node dial out to its jump host (docs/nodes.md)."""

from __future__ import annotations

import posixpath
import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from inventory.models import Node
from inventory.nodes.transports.base import NodeAddress
from inventory.nodes.tunnel import NODE_FOLDER, Tunnel
from inventory.validation import is_authority, validate_host_key, without_comment

UNIT_FILE = "/etc/systemd/system/release-tunnel.service"


class Command(BaseCommand):
    help = "Print the unit by which a node dials out to its jump host, and what the jump host needs for it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("node")
        parser.add_argument("--account", default=None, type=_account, help="on the jump host; default: tunnel-NODE")
        parser.add_argument(
            "--public-key", default=None, type=_public_key, metavar="LINE", help="the node's own, for its tunnel"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        node = Node.objects.listed().filter(name=options["node"]).first()
        if node is None:
            raise CommandError(f"there is no node {options['node']!r}")
        if node.jump is None or not node.jump_socket:
            raise CommandError(
                f"node {node.name!r} does not dial out: give it a jump host and, as jump_socket, the path of a socket there"
            )
        tunnel = Tunnel.of(
            NodeAddress.of(node), account=options["account"] or "", public_key=options["public_key"] or ""
        )
        if neighbours := _neighbours(node):
            self.stderr.write(
                f"warning: {tunnel.folder} is for sockets of {', '.join(neighbours)} too, which could make each other's: "
                f"give each node a folder of its own, such as {tunnel.folder}/{node.name}/ssh.sock"
            )
        self.stdout.write("\n".join(_sections(tunnel)))


def _neighbours(node: Node) -> list[str]:
    folder = f"{posixpath.dirname(node.jump_socket)}/"
    others = Node.objects.listed().filter(jump=node.jump, jump_socket__startswith=folder).exclude(pk=node.pk)
    return [each.name for each in others if f"{posixpath.dirname(each.jump_socket)}/" == folder]


def _sections(tunnel: Tunnel) -> Iterator[str]:
    on_node, on_jump, account = f"# On {tunnel.node}", f"# On {tunnel.jump.name}", tunnel.account
    yield f"{on_node}, once:  install -d -m 0700 {NODE_FOLDER} && ssh-keygen -t ed25519 -N '' -f {NODE_FOLDER}/key\n"
    yield f"{on_node}: {NODE_FOLDER}/known_hosts\n{tunnel.known_hosts}"
    yield f"{on_node}: {UNIT_FILE}, then systemctl enable --now release-tunnel\n{tunnel.unit}"
    yield f"{on_jump}, once:  useradd --system --create-home --shell /bin/sh --password '*' {account}\n"
    yield f"{on_jump}: /etc/tmpfiles.d/{account}.conf, then systemd-tmpfiles --create {account}.conf\n{tunnel.tmpfiles}"
    yield f"{on_jump}: ~{account}/.ssh/authorized_keys\n{tunnel.authorized_key}"
    yield f"{on_jump}: /etc/ssh/sshd_config.d/{account}.conf, then reload sshd\n{tunnel.sshd_settings}"


def _account(value: str) -> str:
    if re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", value) is None:
        raise ArgumentTypeError("is no account's name: up to 32 lower-case letters, digits, _ and -")
    return value


def _public_key(value: str) -> str:
    try:
        validate_host_key(value)
    except ValidationError:
        raise ArgumentTypeError("is no public key: ssh-ed25519 AAAA…") from None
    if is_authority(value):
        raise ArgumentTypeError("is an authority's key")
    return without_comment(value)
