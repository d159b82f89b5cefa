"""JSON in, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import orjson
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

# 10,000 instance ids of 100 characters are about 1 MB.
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
        limit = getattr((parser_context or {}).get("view"), "max_body_bytes", MAX_BODY_BYTES)
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise RequestTooLarge(f"The request's body is larger than {limit} bytes.")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ParseError(f"The request's body is not valid JSON: {error}") from error
