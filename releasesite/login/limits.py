"""How many wrong passwords are too many: for a name from an address, for a name from anywhere, from an address for any.

The two wide limits spare who has logged in from there before, so that a stranger's guesses lock nobody out of the place
where they work. For django-axes, whose own parameters share one limit.
"""

from __future__ import annotations

from typing import Any

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username, get_failure_limit
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest

from inventory.actors import ActorKind
from inventory.models import AuditEntry


class LoginLimits(AxesDatabaseHandler):  # type: ignore[misc]  # axes has no types
    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        """Of the name from the address; or as many as are too many, when a wide limit says so."""
        failures: int = super().get_failures(request, credentials)
        too_many: int = get_failure_limit(request, credentials)
        if failures < too_many and _is_guessed_at(request, get_client_username(request, credentials)):
            return too_many
        return failures


def _is_guessed_at(request: HttpRequest, name: str) -> bool:
    address: str = request.axes_ip_address  # type: ignore[attr-defined]
    since = get_cool_off_threshold(request)
    is_over = (
        _failures(since, username=name) >= settings.LOGIN_FAILURES_OF_A_NAME
        or _failures(since, ip_address=address) >= settings.LOGIN_FAILURES_FROM_AN_ADDRESS
    )
    return is_over and not _has_logged_in(name, address)


def _failures(since: Any, **whose: str) -> int:
    attempts = AccessAttempt.objects.filter(attempt_time__gte=since, **whose)
    return attempts.aggregate(count=Sum("failures_since_start"))["count"] or 0


def _has_logged_in(name: str, address: str) -> bool:
    logins = AuditEntry.objects.filter(action="login", actor_kind=ActorKind.PERSON)
    return logins.filter(actor_name=name, actor_address=address).exists()
