"""Structured logs on stderr: one JSON object a line, or lines for people while DEBUG is on. Secrets are masked last."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from inventory.security.redaction import scrub_value

if TYPE_CHECKING:  # the settings import this file: models cannot be had yet
    from django.http import HttpRequest

    from inventory.security.access import Access

SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def scrub_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    scrubbed = {key: scrub_value(value) for key, value in event.items()}
    if isinstance(scrubbed.get("request"), str):
        # "GET /path?query": no URL to know it by, and a link's signature stands in its query.
        scrubbed["request"] = scrubbed["request"].partition("?")[0]
    return scrubbed


def add_caller(request: HttpRequest, log_kwargs: dict[str, Any], **_: Any) -> None:
    """Receives django_structlog's `bind_extra_request_finished_metadata`."""
    access: Access | None = getattr(request, "access", None)
    if access is not None:
        log_kwargs.update(caller=access.actor.name, address=access.actor.address)


def without_traceback_of_refusals(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A stranger's host name or a forged cookie is no fault of the code's."""
    if str(event.get("logger", "")).startswith("django.security."):
        event.pop("exc_info", None)
    return event


def tell_uncaught() -> None:
    """What ends a thread, or this process, goes into the log as one object, too."""
    logger = logging.getLogger(__name__)

    def tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        logger.critical("uncaught %s", kind.__name__, exc_info=(kind, error, traceback))

    def tell_of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            tell(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = tell
    threading.excepthook = tell_of_thread


def _as_json(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure(*, for_people: bool) -> dict[str, Any]:
    """Sets structlog up, and gives Django's LOGGING."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    last: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        without_traceback_of_refusals,
        structlog.processors.format_exc_info,
        scrub_event,
        structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer(serializer=_as_json),
    ]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": last,
                "foreign_pre_chain": [*SHARED, structlog.stdlib.ExtraAdder()],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {
            # django_structlog reports every request, so Django's own words on them would be said twice.
            "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            "django.request": {"level": "ERROR"},
            "django-q": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
            "gunicorn.error": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            "gunicorn.access": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
            "asyncssh": {"level": "WARNING"},
            "axes": {"level": "WARNING"},
        },
    }
