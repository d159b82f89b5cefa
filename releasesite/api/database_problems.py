"""What a database's error means to whoever asked: said by its kind alone, for its own text may hold an address or a name."""

from __future__ import annotations

import re

from inventory.database.outage import has_no_connection_left, is_outage, is_read_only, sqlstate
from inventory.errors import Problem
from releasesite.site_files import COMMAND

UNAVAILABLE = Problem(
    code="database_unavailable", detail="The database can't be reached. Check DATABASE_URL and that PostgreSQL runs."
)
DISK_FULL = Problem(code="database_unavailable", detail="The database has no room left on its disk.")
READ_ONLY = Problem(
    code="database_read_only",
    detail="The database is read-only just now: a standby, or default_transaction_read_only is on.",
)
NO_CONNECTION_LEFT = Problem(
    code="database_connections",
    detail="The database has no connection left. Raise max_connections, or run fewer processes (docs/scaling.md).",
)
LOGIN_REFUSED = Problem(
    code="database_login_refused",
    detail="The database refuses our login. Check user, password and name in DATABASE_URL, and the server's pg_hba.conf.",
)
NOT_MIGRATED = Problem(
    code="database_not_migrated",
    detail=f"The database lacks a migration of this version. Run: {COMMAND} migrate",
)
RIGHTS_MISSING = Problem(
    code="database_rights_missing",
    detail="The database refuses us a right that we need. Run docs/database_roles.sql again, as after each upgrade.",
)
FAILED = Problem(
    code="database_error",
    detail="The database answers a simple query with an error. The log of the web process has it.",
)

# Refused to log in, nothing bears a SQLSTATE: these are PostgreSQL's words.
_LOGIN_REFUSED = re.compile(r"authentication failed|no pg_hba\.conf entry|(role|database) \".*\" does not exist")
_BY_STATE = {
    "42P01": NOT_MIGRATED,
    "42703": NOT_MIGRATED,
    "53100": DISK_FULL,
    "42501": RIGHTS_MISSING,
    "28000": LOGIN_REFUSED,
    "28P01": LOGIN_REFUSED,
    "3D000": LOGIN_REFUSED,
}


def problem_of(error: Exception) -> Problem:
    """Of an error of the database's, whether it passes by itself or not."""
    if has_no_connection_left(error):
        return NO_CONNECTION_LEFT
    if is_read_only(error):
        return READ_ONLY
    state = sqlstate(error)
    if state is None and _LOGIN_REFUSED.search(str(error)):
        return LOGIN_REFUSED
    return _BY_STATE.get(state or "", UNAVAILABLE if is_outage(error) else FAILED)
