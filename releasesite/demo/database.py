"""Which database the demo uses, made ready for use; and letting go of it at the end."""

from __future__ import annotations

import time

from django.core.management import call_command
from django.db import connection, connections
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import OperationalError

from releasesite.demo.errors import DemoError
from releasesite.demo.layout import Layout, shown

STOP_SECONDS = 5


def is_embedded() -> bool:
    return str(connection.settings_dict["ENGINE"]) == "releasesite.embedded_postgres"


def connect(layout: Layout) -> str:
    """Make sure it answers, starting the embedded one; says which one it is."""
    try:
        connection.ensure_connection()
    except OperationalError as error:
        hint = "" if is_embedded() else "Check DATABASE_URL, or unset it to use an embedded PostgreSQL. "
        raise DemoError(f"The database does not answer. {hint}It said: {str(error).strip()}") from error
    if is_embedded():
        return f"embedded PostgreSQL in {shown(layout.data_dir / 'postgres')} (DATABASE_URL is not set)"
    place = connection.settings_dict
    return f"PostgreSQL from DATABASE_URL: {place['NAME']} on {place['HOST'] or 'the local socket'}"


def migrate() -> str:
    executor = MigrationExecutor(connection)
    waiting = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if not waiting:
        return "up to date"
    call_command("migrate", verbosity=0, interactive=False)
    return f"{len(waiting)} migrations applied"


def let_go(layout: Layout) -> None:
    """The last one out stops the embedded server; wait for that, but not for others who still use it."""
    connections.close_all()
    if not is_embedded():
        return
    from releasesite.embedded_postgres.base import server

    server.release()
    deadline = time.monotonic() + STOP_SECONDS
    while (layout.data_dir / "postgres" / "data" / "postmaster.pid").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
