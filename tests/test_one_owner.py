"""A rule has one owner: no other module spells it out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings

from deploys.error_codes import ErrorCode
from deploys.queue.names import QUEUES
from deploys.states import ACTIVE
from inventory.instances import sync_queue

ROOT = Path(__file__).parent.parent
APPS = ("inventory", "deploys", "rollbacks", "releasesite")

UNFINISHED = re.compile(r"\s*,\s*".join(rf"['\"]{status.value}['\"]" for status in ACTIVE))
# Which modules lock rows in Python or SQL, and of which table; instances and operations have one owner each.
LOCKING = {
    "inventory/instances/locks.py": "inventory_instance",
    "deploys/operations/locks.py": "deploys_operation",
    "deploys/worker/pinning.py": "Service",
    "inventory/instances/sync_queue.py": "due_services",
    "deploys/worker/claims.py": "FOR UPDATE OF t SKIP LOCKED",
    "deploys/host/reaper.py": "deploys_target",
    "deploys/operations/confirm.py": "FOR UPDATE OF t SKIP LOCKED",
    "deploys/queue/broker.py": "django_q_ormq",
    "deploys/webhooks/claims.py": "deploys_webhookdelivery",
    "deploys/operations/retention.py": "deploys_logline",
    "inventory/database/steps.py": "skip_locked=True",
}


def sources() -> Iterator[tuple[str, str]]:
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if "migrations" not in path.parts:
                yield str(path.relative_to(ROOT)), path.read_text()


def test_no_module_but_its_owner_spells_out_what_unfinished_is() -> None:
    found = [name for name, text in sources() if UNFINISHED.search(text)]

    assert found == []


def test_instances_and_operations_are_locked_by_their_one_owner_alone() -> None:
    found = [(name, lock) for name, text in sources() for lock in locks(text)]

    assert [(name, lock) for name, lock in found if name not in LOCKING or LOCKING[name] not in lock] == []
    assert {name for name, _lock in found} == LOCKING.keys()


def locks(text: str) -> Iterator[str]:
    """The statements that lock rows: SQL texts, and calls of `select_for_update` with what they are called on."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Constant(value=str(sql)) if re.search(r"\bFOR (NO KEY )?UPDATE\b", sql):
                yield sql
            case ast.Call(func=ast.Attribute(attr="select_for_update")):
                yield ast.unparse(node)


# Inventory knows no operations: what its transports can't do, a worker turns into a target's code.
NAMES_CODES = {"deploys/error_codes.py", "inventory/nodes/transports/base.py"}


def test_no_module_but_its_owner_spells_out_an_error_code() -> None:
    codes = {code.value for code in ErrorCode} - {"command_timeout"}  # a service's column is called so too
    found = [(name, text) for name, source in sources() for text in texts(source) if text in codes]

    assert [(name, text) for name, text in found if name not in NAMES_CODES] == []
    assert {name for name, _text in found} == NAMES_CODES


def texts(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_module_but_its_owner_spells_out_a_queues_channel() -> None:
    found = [name for name, source in sources() if re.search(r"release_(queue|work)_(?![a-z])", source)]

    assert found == ["deploys/queue/names.py"]


def test_the_clusters_of_the_settings_are_the_queues() -> None:
    clusters: dict[str, Any] = settings.Q_CLUSTER

    assert (clusters["name"], *clusters["ALT_CLUSTERS"]) == QUEUES
    assert sync_queue.queue in QUEUES


def test_a_limit_that_a_page_and_the_api_share_stands_in_one_place() -> None:
    defined = [
        (name, re.findall(r"^(MAX_\w+) = \d", source, re.MULTILINE))
        for name, source in sources()
        if name.startswith(("deploys/web/", "rollbacks/", "inventory/wire/"))
    ]

    assert [name for name, limits in defined if limits] == ["inventory/wire/limits.py"]
