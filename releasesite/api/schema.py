"""What the OpenAPI document says of every call alike: its name, its possible refusals, and how to authenticate."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from inventory.wire.refusals import refusals_of
from releasesite.api.schema_errors import FAILURES, WITH_BODY, codes_of_serializer, error_response

TAGS = {"deploy": "Deploys", "rollback": "Rollbacks", "inventory": "Inventory"}


class ApiSchema(AutoSchema):
    """A view has `operation_id`, a name for generated clients; one with several methods a dict of them by method."""

    def get_operation_id(self) -> str:
        declared = getattr(self.view, "operation_id", "")
        if isinstance(declared, dict):
            declared = declared.get(self.method, "")
        return str(declared or super().get_operation_id())

    def get_tags(self) -> list[str]:
        return [TAGS.get(self.path.split("/")[2], "Services and instances")]

    def get_summary(self) -> str:
        """The first sentence of the view's docstring."""
        return " ".join(self.get_description().split("\n\n")[0].split()).rstrip(".")

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        declared = refusals_of(self.view, self.method)
        for status, failure in FAILURES.items():
            own = set(declared.get(status, ())) | (self._request_codes() if status == 400 else set())
            shared = set() if failure.only_with_body and self.method not in WITH_BODY else set(failure.codes)
            if own or shared:
                entry = error_response(self.registry, call=self._call_name(), http_status=status, own=own)
                bodies.setdefault(str(status), entry)
        return bodies

    def _call_name(self) -> str:
        return "".join(word.capitalize() for word in self.get_operation_id().split("_"))

    def _request_codes(self) -> set[str]:
        """Of the body, and of the query's parameters."""
        queries = [
            parameter for parameter in self.get_override_parameters() if not isinstance(parameter, OpenApiParameter)
        ]
        codes = {"duplicate_key"} if queries else set[str]()
        codes = codes.union(*map(codes_of_serializer, queries))
        if self.method in WITH_BODY:
            codes |= {"parse_error", "invalid", "duplicate_key"} | codes_of_serializer(self.get_request_serializer())
        return codes


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
        _close(call["requestBody"]["content"]["application/json"]["schema"], result["components"]["schemas"])
    return result


def _close(schema: dict[str, Any], components: dict[str, Any]) -> None:
    """A request's schema, and those of its parts."""
    if "items" in schema:
        return _close(schema["items"], components)
    if "$ref" in schema:
        component = components[schema["$ref"].rpartition("/")[2]]
        if "properties" in component:
            component["additionalProperties"] = False
        for part in component.get("properties", {}).values():
            _close(part, components)
    return None
