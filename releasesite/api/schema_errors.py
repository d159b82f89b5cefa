"""The refusals of the OpenAPI document: for every call and status a schema that enumerates the codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent, force_instance
from drf_standardized_errors.openapi_utils import get_flat_serializer_fields, get_serializer_fields_with_error_codes
from rest_framework import serializers

from inventory.wire.refusals import FACTS_OF
from inventory.wire.serializers import StrictSerializer

WITH_BODY = ("POST", "PUT", "PATCH")


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A status: what it means, and the codes that any call may have with it. name: of its schema where calls share it."""

    description: str
    codes: tuple[str, ...] = ()
    name: str = ""
    only_with_body: bool = False


FAILURES = {
    400: Failure(description="The request is not valid; each error names what is at fault."),
    401: Failure(
        name="Unauthorized",
        description="No token, or one that is unknown, expired or revoked.",
        codes=("not_authenticated", "authentication_failed", "token_invalid", "token_expired", "token_revoked"),
    ),
    403: Failure(
        name="Forbidden",
        description="The caller's scope, network or CSRF token does not allow this.",
        codes=("scope_missing", "permission_denied", "network_not_allowed", "csrf_failed"),
    ),
    404: Failure(
        name="NotFound",
        description="No such thing, or not one of the caller's services.",
        codes=("not_found",),
    ),
    409: Failure(description="Something is in the way; nothing has changed."),
    412: Failure(description="It has changed since it was read; nothing has changed now."),
    413: Failure(
        name="RequestTooLarge",
        description="The request's body is too large.",
        codes=("request_too_large",),
        only_with_body=True,
    ),
    415: Failure(
        name="UnsupportedMediaType",
        description="The request's body is not application/json, or it is compressed.",
        codes=("unsupported_media_type",),
        only_with_body=True,
    ),
    429: Failure(
        name="TooManyCalls",
        description="Too many calls; `Retry-After` says how many seconds to wait.",
        codes=("throttled",),
    ),
    503: Failure(
        name="DatabaseUnavailable",
        description="The database can't be reached; nothing has changed.",
        codes=("database_unavailable", "database_read_only", "database_connections"),
    ),
}
_SUFFIXES = {400: "BadRequest", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 412: "PreconditionFailed"}


def codes_of_serializer(declared: Any) -> set[str]:
    """What the fields of a request may be refused with, whether it stands in the body or the query."""
    serializer = force_instance(declared)  # type: ignore[no-untyped-call]
    if not isinstance(serializer, serializers.BaseSerializer):
        return set()
    fields = get_serializer_fields_with_error_codes(get_flat_serializer_fields(serializer))
    codes = {code for one in fields for code in one.error_codes}
    return codes | {"unknown_field"} if isinstance(serializer, StrictSerializer) else codes


def error_schema(codes: Iterable[str], *, http_status: int) -> dict[str, Any]:
    """Of an error answer with one of these codes in each of its errors."""
    listed = sorted(set(codes))
    facts = {key: schema for code in listed for key, schema in FACTS_OF.get(code, {}).items()}
    error = {
        "type": "object",
        "properties": {
            "code": {"type": "string", "enum": listed, "description": "Stable, for programs."},
            "detail": {"type": "string", "description": "What happened and what to do next, for people."},
            "attr": {"type": ["string", "null"], "description": "The request's key at fault."},
            **facts,
        },
        "required": ["code", "detail", "attr"],
    }
    # A body that is no JSON is refused before any validation.
    types = ["validation_error", "client_error"] if http_status == 400 else [_error_type(http_status)]
    return {
        "type": "object",
        "properties": {"type": {"type": "string", "enum": types}, "errors": {"type": "array", "items": error}},
        "required": ["type", "errors"],
    }


def _error_type(http_status: int) -> str:
    return "client_error" if http_status < 500 else "server_error"


def error_response(registry: ComponentRegistry, *, call: str, http_status: int, own: set[str]) -> dict[str, Any]:
    """The document's entry for a status of a call. own: the codes beside those that every call may have with it."""
    failure = FAILURES[http_status]
    name = call + _SUFFIXES[http_status] if own else failure.name
    schema = error_schema({*failure.codes, *own}, http_status=http_status)
    component = ResolvedComponent(  # type: ignore[no-untyped-call]
        name=name, type=ResolvedComponent.SCHEMA, schema=schema, object=name
    )
    registry.register_on_missing(component)
    return {"description": failure.description, "content": {"application/json": {"schema": component.ref}}}
