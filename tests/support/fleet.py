"""Services, nodes and instances for a test, straight through the models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inventory.actors import Actor, ActorKind
from inventory.models import Instance, Node, Service
from inventory.security.access import Access, Scope

SCHEDULER = Access(
    actor=Actor(kind=ActorKind.TOKEN, name="scheduler"), scopes=frozenset({Scope.READ, Scope.DEPLOY}), services=None
)


def make_service(name: str = "user-service", **fields: Any) -> Service:
    return Service.objects.create(name=name, **fields)


def make_node(name: str = "node-1", /, **fields: Any) -> Node:
    return Node.objects.create(name=name, **{"host": "127.0.0.1", "transport": "local", **fields})


def make_instances(
    service: Service, node: Node, count: int = 3, *, root: Path | str = "/srv", prefix: str = "instance"
) -> list[Instance]:
    """instance-1 … on ports from 8001."""
    return [
        Instance.objects.create(
            instance_id=f"{prefix}-{number}",
            service=service,
            node=node,
            port=8000 + number,
            deploy_root=f"{root}/{prefix}-{number}",
        )
        for number in range(1, count + 1)
    ]


def ids(instances: Sequence[Instance]) -> tuple[str, ...]:
    return tuple(instance.instance_id for instance in instances)
