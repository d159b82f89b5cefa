"""Which migrations the database has beside those of this code, and which older versions may run over them."""

from __future__ import annotations

import re
from functools import cache

from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

# The oldest version whose processes work over the schema of this one. A migration that takes away what an older version
# still reads or writes raises it; the others (new tables, columns with a default) leave it.
OLDEST_OVER_THIS_SCHEMA = "0.1.0"
VERSION = re.compile(r"\d+(\.\d+)*")


@cache
def _ours() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).graph.nodes)


def missing() -> list[str]:
    """What this code needs and the database lacks: it is older. Raises the database's errors."""
    return _named(_ours() - _applied())


def unknown() -> list[str]:
    """What the database has and this code does not know: a newer version has migrated it. Raises the database's errors."""
    apps = {app for app, _ in _ours()}
    return _named({(app, name) for app, name in _applied() - _ours() if app in apps})


def may_run_over_this_schema(version: str) -> bool:
    """Raises ValueError for what is no version."""
    return _numbers(version) >= _numbers(OLDEST_OVER_THIS_SCHEMA)


def knows_how_far(version: str) -> bool:
    """Whether its workers know `until` and `confirm_within` (`deploys.operations.old_workers`)."""
    return _numbers(version) >= [0, 2]


def _applied() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationRecorder(connection).applied_migrations())


def _named(migrations: frozenset[tuple[str, str]] | set[tuple[str, str]]) -> list[str]:
    return sorted(f"{app}.{name}" for app, name in migrations)


def _numbers(version: str) -> list[int]:
    if not VERSION.fullmatch(version):
        raise ValueError(f"{version!r} is no version such as 0.2.0.")
    return [int(part) for part in version.split(".")]
