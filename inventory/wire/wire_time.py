"""Times as API answers write them, made by the database: a datetime object for each row costs more than the row."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db.models import Func, TextField


class WireTime(Func):
    """WireTime("updated_at") is text like 2024-01-15T10:30:00Z, as `wire_time` writes it; such texts sort by time."""

    template = """to_char(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""
    output_field = TextField()


def wire_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
