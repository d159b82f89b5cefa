"""`/healthz`: this process answers. `/readyz`: the database takes our work and a worker is there. No token needed."""

from __future__ import annotations

import logging
from datetime import timedelta

import django.db
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deploys.models import Lease, Worker
from deploys.operations.database_trouble import DatabaseTrouble, database_trouble
from inventory.errors import Problem
from releasesite import __version__, schema_versions
from releasesite.api import database_problems
from releasesite.api.errors import error_body
from releasesite.site_files import COMMAND

logger = logging.getLogger(__name__)

SEEN_WITHIN = timedelta(seconds=15)
# The supervisor restarts a cluster that has answered no probe for this long at the most.
PROBE_WITHIN = timedelta(seconds=60)

TROUBLES = {
    DatabaseTrouble.READ_ONLY: database_problems.READ_ONLY,
    DatabaseTrouble.CONNECTIONS: Problem(
        code="database_connections",
        detail="The database is short of connections: workers were refused one within the last minute, and go on slowly. "
        "Raise max_connections, or run fewer processes (docs/scaling.md).",
    ),
}
SLOW = "The database is slow: within the last minute a worker waited seconds for a small write."
WORKERS_AWAY = Problem(
    code="no_worker",
    detail=f"No worker is there: operations are accepted and wait. Start one with `{COMMAND} worker`.",
)

WORKERS_PAUSED = Problem(
    code="workers_paused",
    detail="Every worker is paused: operations are accepted and wait. After a restore resume with "
    f"`{COMMAND} after_restore --resume`; one that was started with --paused, by SIGUSR1 to its main process.",
)


class Probe(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    schema = None


class Health(Probe):
    def get(self, request: Request) -> Response:
        return Response({"status": "ok", "version": __version__})


class Readiness(Probe):
    def get(self, request: Request) -> Response:
        """A database that is merely slow is told beside `ok`: no work is refused for it."""
        try:
            trouble = database_trouble()
            away = what_is_away(trouble)
        except django.db.Error as error:
            logger.warning("not ready: %s", error)
            trouble, away = None, database_problems.problem_of(error)
        if away is not None:
            return Response(error_body(503, [away]), status=503)
        return Response({"status": "ok", "warning": SLOW} if trouble is not None else {"status": "ok"})


def what_is_away(trouble: DatabaseTrouble | None) -> Problem | None:
    """Raises the database's own errors."""
    if trouble in TROUBLES:
        return TROUBLES[trouble]
    if schema_versions.missing():
        return database_problems.NOT_MIGRATED
    if has_worker():
        return None
    return WORKERS_PAUSED if has_worker(is_paused=True) else WORKERS_AWAY


def has_worker(*, is_paused: bool = False) -> bool:
    """True if a supervisor, paused or not, beats and its clusters execute: a queue probe recently, or a long work loop."""
    working = Lease.objects.filter(worker=OuterRef("name"), expires_at__gt=Now())
    executing = Q(canary_at__gte=Now() - PROBE_WITHIN) | Q(Exists(working))
    return Worker.objects.filter(executing, is_paused=is_paused, seen_at__gte=Now() - SEEN_WITHIN).exists()
