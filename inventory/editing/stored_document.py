"""The inventory as the document that made it, or would (CONTRACT.md, "Inventory file")."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from django.db.models import QuerySet, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from inventory.editing.file.document import SECTIONS
from inventory.models import Instance, JumpHost, Node, Service
from inventory.security.access import Access

Payload = dict[str, list[dict[str, Any]]]
_NAMES: dict[str, str | Combinable] = {
    "service": "service__name",
    "node": "node__name",
    "jump": Coalesce("jump__name", Value("")),
}


def stored_document(access: Access) -> Payload:
    """Every key of every row; who is limited to some services gets those and their instances, and no machines."""
    sees_all = access.services is None
    return {
        "services": _entries("services", access.visible(Service.objects.order_by("name"), "pk")),
        "jump_hosts": _entries("jump_hosts", JumpHost.objects.order_by("name")) if sees_all else [],
        "nodes": _entries("nodes", Node.objects.listed().order_by("name")) if sees_all else [],
        "instances": _entries("instances", access.visible(Instance.objects.listed().order_by("natural_key"))),
    }


def _entries(section: str, rows: QuerySet[Any]) -> list[dict[str, Any]]:
    keys = SECTIONS[section]
    return [dict(zip(keys, row, strict=True)) for row in rows.values_list(*(_NAMES.get(key, key) for key in keys))]


def etag_of(document: Payload) -> str:
    """A strong one, quoted: of what the document says."""
    return f'"{hashlib.sha256(orjson.dumps(document)).hexdigest()[:32]}"'
