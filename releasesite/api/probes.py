"""`/healthz`: this process answers. `/readyz`: the database and a worker are there as well. No token needed."""

from __future__ import annotations

from datetime import timedelta

import django.db
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deploys.models import Lease, Worker
from inventory.errors import Problem
from releasesite.api.errors import error_body

SEEN_WITHIN = timedelta(seconds=15)
# The supervisor restarts a cluster that has answered no probe for this long at the most.
PROBE_WITHIN = timedelta(seconds=60)

DATABASE_AWAY = Problem(
    code="database_unavailable", detail="The database can't be reached. Check DATABASE_URL and that PostgreSQL runs."
)
WORKERS_AWAY = Problem(
    code="no_worker",
    detail="No worker is there: operations are accepted and wait. Start one with `python manage.py worker`.",
)


class Probe(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    schema = None


class Health(Probe):
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class Readiness(Probe):
    def get(self, request: Request) -> Response:
        away = what_is_away()
        if away is None:
            return Response({"status": "ok"})
        return Response(error_body(503, [away]), status=503)


def what_is_away() -> Problem | None:
    try:
        return None if has_worker() else WORKERS_AWAY
    except django.db.Error:
        return DATABASE_AWAY


def has_worker() -> bool:
    """True if a supervisor beats and its clusters execute: a queue probe recently, or a long work loop."""
    working = Lease.objects.filter(worker=OuterRef("name"), expires_at__gt=Now())
    executing = Q(canary_at__gte=Now() - PROBE_WITHIN) | Q(Exists(working))
    return Worker.objects.filter(executing, seen_at__gte=Now() - SEEN_WITHIN).exists()
