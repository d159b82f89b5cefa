"""JSON in, bounded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, ParseError, UnsupportedMediaType
from rest_framework.parsers import BaseParser

from inventory.errors import InvalidRequest
from inventory.wire.query import duplicate_key

# 10,000 instance ids of 100 characters are about 1 MB. A proxy's own limit has to be above it (packaging/nginx).
MAX_BODY_BYTES = 4 * 1024**2


class RequestTooLarge(APIException):
    status_code = 413
    default_code = "request_too_large"


class OrjsonParser(BaseParser):
    """Strict UTF-8 JSON; orjson also refuses lone surrogates, which PostgreSQL can't store.

    A view may say `max_body_bytes` for itself.
    """

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        _check_encoding(parser_context or {})
        limit = getattr((parser_context or {}).get("view"), "max_body_bytes", MAX_BODY_BYTES)
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise RequestTooLarge(f"The request's body is larger than {limit} bytes.")
        if not body:
            return {}
        try:
            parsed = orjson.loads(body)
            _check_keys(body)
        except (orjson.JSONDecodeError, RecursionError) as error:
            raise ParseError(_("The request's body is not valid JSON: %(error)s") % {"error": error}) from error
        return parsed


def _check_encoding(context: Mapping[str, Any]) -> None:
    request = context.get("request")
    encoding = request.headers.get("content-encoding", "identity") if request is not None else "identity"
    if encoding.lower() not in ("", "identity"):
        detail = _("Content-Encoding '%(encoding)s' is not taken: send the JSON as it is.") % {
            "encoding": encoding[:100]
        }
        raise UnsupportedMediaType(encoding, detail=detail)


def _check_keys(body: bytes) -> None:
    """Raises InvalidRequest naming every key that stands twice in an object: the last of them would win silently."""
    twice: dict[str, None] = {}

    def look(pairs: list[tuple[str, Any]]) -> None:
        counts = Counter(key for key, _ in pairs)
        twice.update(dict.fromkeys(key for key, count in counts.items() if count > 1))

    json.loads(body, object_pairs_hook=look, parse_int=_ignored, parse_float=_ignored)
    if twice:
        raise InvalidRequest(problems=[duplicate_key(key) for key in twice])


def _ignored(number: str) -> None:
    """orjson has read it; the standard library would choke on thousands of digits."""
