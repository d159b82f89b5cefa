"""Lets a process that a test starts use the test's own database."""

from __future__ import annotations

import os
from urllib.parse import quote

from django.db import connection


def database_url() -> str:
    """For DATABASE_URL. What the process shall see has to be committed: mark the test django_db(transaction=True)."""
    params = connection.get_connection_params()
    secret = f":{quote(params['password'], safe='')}" if params.get("password") else ""
    user = quote(params["user"], safe="")
    return f"postgres://{user}{secret}@{quote(params['host'], safe='')}:{params['port']}/{quote(params['dbname'])}"


def process_environment(**variables: str) -> dict[str, str]:
    """This process's environment with the production settings over the test's database."""
    return {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        **variables,
    }
