"""How often one token or person may call. Counted in PostgreSQL by one atomic statement.

Not Django's DatabaseCache: it needs five statements for a hit, and two web processes that count at once lose one.
The table is UNLOGGED (migration 0003), so that counting waits for no disk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import Error, connection
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from inventory.database.outage import is_read_only
from inventory.wire.budgets import Budget

if TYPE_CHECKING:  # rest_framework.views imports this module by its settings
    from rest_framework.views import APIView

COUNT = """
INSERT INTO releasesite_requestcount AS counted (key, minute, requests)
VALUES (%s, date_trunc('minute', clock_timestamp()), 1)
ON CONFLICT (key) DO UPDATE SET
    requests = CASE WHEN counted.minute = EXCLUDED.minute THEN counted.requests + 1 ELSE 1 END,
    minute = EXCLUDED.minute
RETURNING requests, extract(epoch FROM minute + interval '1 minute' - clock_timestamp())
"""


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """How many calls of this kind a caller may make in this minute, how many are left, and when the next one begins."""

    limit: int
    remaining: int
    reset_seconds: int

    def headers(self) -> dict[str, str]:
        """By their names of draft-ietf-httpapi-ratelimit-headers-07, which most clients know."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }


class CallerThrottle(BaseThrottle):
    """Reads, writes and urgent writes are counted apart: a busy poller, and a deploy in a loop, can still be rolled back.

    A database that takes no writes counts nobody; reads go on uncounted.
    """

    seconds_left: float = 0

    def allow_request(self, request: Request, view: APIView) -> bool:
        budget = _budget(request, view)
        limit = settings.API_CALLS_PER_MINUTE[budget]
        try:
            requests, self.seconds_left = _count(f"{_caller(request)}:{budget}")
        except Error as error:
            if budget == Budget.READ and is_read_only(error):
                return True
            raise
        # Set on Django's own request, where the middleware sees it.
        request._request.rate_limit = RateLimit(  # type: ignore[attr-defined]
            limit=limit, remaining=max(0, limit - requests), reset_seconds=math.ceil(self.wait())
        )
        return requests <= limit

    def wait(self) -> float:
        return max(1, math.ceil(self.seconds_left))


def _budget(request: Request, view: APIView) -> Budget:
    if request.method in SAFE_METHODS:
        return Budget.READ
    declared: Budget = getattr(view, "write_budget", Budget.WRITE)
    return declared


def _caller(request: Request) -> str:
    token: Any = request.auth
    return f"token:{token.token_key}" if token is not None else f"person:{request.user.pk}"


def _count(key: str) -> tuple[int, float]:
    with connection.cursor() as cursor:
        cursor.execute(COUNT, [key])
        requests, seconds_left = cursor.fetchone()
    return requests, float(seconds_left)
