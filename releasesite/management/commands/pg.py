"""`manage.py pg pg_dump …`: one of PostgreSQL's own programs, with the connection of this system."""

from __future__ import annotations

import os
import shutil
from argparse import REMAINDER, ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

VARIABLES = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "service": "PGSERVICE",
    "passfile": "PGPASSFILE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}


class Command(BaseCommand):
    help = "Runs psql, pg_dump, pg_restore or another of PostgreSQL's programs on this system's database: no password to type."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("program", help="such as pg_dump")
        parser.add_argument("arguments", nargs=REMAINDER)

    def handle(self, *, program: str, arguments: list[str], **options: Any) -> None:
        """Becomes that program. What it needs is in its environment, where the process list does not show it."""
        if shutil.which(program) is None:
            raise CommandError(f"There is no {program} on this machine: install PostgreSQL's client programs.")
        os.execvpe(program, [program, *arguments], os.environ | environment())  # noqa: S606


def environment() -> dict[str, str]:
    parameters = connection.get_connection_params()
    return {name: str(parameters[key]) for key, name in VARIABLES.items() if parameters.get(key)}
