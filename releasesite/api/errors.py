"""Every failure of an API call becomes `{"type", "errors": [{"code", "detail", "attr"}]}` here, and only here."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _
from drf_standardized_errors.handler import exception_handler
from rest_framework.response import Response
from rest_framework.views import set_rollback

from inventory.database.outage import has_no_connection_left, is_outage, is_read_only
from inventory.errors import Problem, ReleaseError

logger = logging.getLogger(__name__)

DATABASE_UNAVAILABLE = Problem(
    code="database_unavailable",
    detail=_("The database can't be reached just now; nothing has been changed. Send the request again shortly."),
)
DATABASE_READ_ONLY = Problem(
    code="database_read_only",
    detail=_(
        "The database takes no writes just now; nothing has been changed. What only reads works. Send it again later."
    ),
)
DATABASE_CONNECTIONS = Problem(
    code="database_connections",
    detail=_("The database has no connection left just now; nothing has been changed. Send the request again shortly."),
)
RETRY_SECONDS = 5
SAID_IN_FULL = 100


def error_body(http_status: int, problems: Iterable[Problem]) -> dict[str, Any]:
    return {"type": _error_type(http_status), "errors": [problem.to_answer() for problem in _brief(problems)]}


def _brief(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Ten thousand instances at fault are named one by one, but not with a sentence each."""
    seen: Counter[str] = Counter()
    for problem in problems:
        seen[problem.code] += 1
        is_said = seen[problem.code] <= SAID_IN_FULL or not problem.facts
        yield problem if is_said else replace(problem, detail=gettext("Likewise."))


def handle_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    if isinstance(error, ReleaseError):
        set_rollback()
        return Response(error_body(error.http_status, error.problems), status=error.http_status)
    if is_outage(error):
        logger.exception("database unavailable")
        body = error_body(503, [outage_problem(error)])
        return Response(body, status=503, headers={"Retry-After": str(RETRY_SECONDS)})
    return exception_handler(error, context)  # type: ignore[arg-type]


def outage_problem(error: Exception) -> Problem:
    problem = DATABASE_CONNECTIONS if has_no_connection_left(error) else DATABASE_UNAVAILABLE
    problem = DATABASE_READ_ONLY if is_read_only(error) else problem
    return replace(problem, detail=gettext(problem.detail))


def _error_type(http_status: int) -> str:
    if http_status == 400:
        return "validation_error"
    return "client_error" if http_status < 500 else "server_error"
