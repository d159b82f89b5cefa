"""The demo's entries in the inventory: one service, one local node, three instances."""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from inventory.models import Instance, Node, Service, TransportKind
from releasesite.demo.layout import Layout
from releasesite.demo.packages import SERVICE
from releasesite.demo.ports import free_port

INSTANCES = {"demo-1": 8701, "demo-2": 8702, "demo-3": 8703}


def restart_command() -> str:
    """With this very Python: the service needs no more than the standard library, but `python3` may be anything."""
    return f"{shlex.quote(sys.executable)} bin/restart.py"


_ASK = """\
import json, os, urllib.request as web
opener = web.build_opener(web.ProxyHandler({}))
print(json.load(opener.open("http://127.0.0.1:" + os.environ["RELEASE_PORT"], timeout=3))["version"])
"""


def version_command() -> str:
    """Asks the process itself. With this Python, too."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(_ASK)}"


def register(layout: Layout, *, avoid_ports: Sequence[int]) -> list[Instance]:
    """Create what is missing, bring back what is retired; correct only what moves with the checkout: Python, folders, ports."""
    commands = {"restart_command": restart_command(), "version_command": version_command()}
    service, _ = Service.objects.update_or_create(
        name=SERVICE,
        defaults=commands,
        create_defaults={**commands, "command_timeout": 30},
    )
    node, _ = Node.objects.update_or_create(
        name="demo-node",
        defaults={"retired_at": None},
        create_defaults={"host": "127.0.0.1", "transport": TransportKind.LOCAL},
    )
    taken = list(avoid_ports)
    for instance_id, preferred in INSTANCES.items():
        known = Instance.objects.filter(instance_id=instance_id).first()
        port = free_port(known.port if known else preferred, avoid=taken)
        taken.append(port)
        root = deploy_root(layout, instance_id, known)
        place = {"service": service, "node": node, "port": port, "deploy_root": str(root), "retired_at": None}
        Instance.objects.update_or_create(instance_id=instance_id, defaults=place)
    return registered()


def deploy_root(layout: Layout, instance_id: str, known: Instance | None) -> Path:
    """A database that doesn't know the instance must not find the releases and fences of another one there."""
    if known:
        return layout.node / Path(known.deploy_root).name
    root = layout.node / instance_id
    return layout.node / f"{instance_id}-{secrets.token_hex(3)}" if root.exists() else root


def registered() -> list[Instance]:
    return list(Instance.objects.filter(instance_id__in=INSTANCES).select_related("service"))
