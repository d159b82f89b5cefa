"""What the OpenAPI document says of every call alike: its possible failures, and how to authenticate."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

FAILURES = {
    "400": "The request is not valid; each error names what is at fault.",
    "401": "No token, or one that is unknown, expired or revoked.",
    "403": "The caller's scope, network or CSRF token does not allow this.",
    "404": "No such thing, or not one of the caller's services.",
    "409": "Something is in the way; nothing has changed.",
    "413": "The request's body is too large.",
    "415": "The request's body is not application/json.",
    "429": "Too many calls; `Retry-After` says how many seconds to wait.",
    "503": "The database can't be reached; nothing has changed.",
}
ONLY_WITH_BODY = {"409", "413", "415"}


class ErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField(help_text="Stable, for programs.")
    detail = serializers.CharField(help_text="What happened and what to do next, for people.")
    attr = serializers.CharField(allow_null=True, help_text="The request's key at fault.")


class ErrorAnswerSerializer(serializers.Serializer[Any]):
    type = serializers.ChoiceField(choices=["validation_error", "client_error", "server_error"])
    errors = ErrorSerializer(many=True)  # type: ignore[assignment]  # the answer's key, not a form's errors


class ApiSchema(AutoSchema):
    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        for status, description in FAILURES.items():
            if self.method == "POST" or status not in ONLY_WITH_BODY:
                body = self._get_response_for_code(ErrorAnswerSerializer, status)  # type: ignore[no-untyped-call]
                bodies.setdefault(status, {**body, "description": description})
        return bodies


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "releasesite.api.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "An API token, from `create_token`."}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "releasesite.api.authentication.CsrfSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "A login; POST needs CSRF."}


def refuse_unknown_keys(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Requests are strict (`inventory.wire.serializers.StrictSerializer`): the document says so."""
    calls = [call for path in result["paths"].values() for call in path.values() if "requestBody" in call]
    for call in calls:
        name = call["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        result["components"]["schemas"][name]["additionalProperties"] = False
    return result
