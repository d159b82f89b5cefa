"""The hold of a service over HTTP (CONTRACT.md, "Hold")."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deploys.operations.held import active_hold
from deploys.operations.hold import hold_service, release_service
from inventory.instances.selection import visible_service
from inventory.models import Service
from inventory.security.access import Scope, access_of
from inventory.wire.budgets import Budget
from inventory.wire.limits import MAX_REASON_LENGTH
from inventory.wire.refusals import Refusals
from inventory.wire.serializers import StrictCharField, StrictSerializer, StrictTimeField


class HoldRequestSerializer(StrictSerializer):
    """Why no deploy shall start, and for how long."""

    reason = StrictCharField(max_length=MAX_REASON_LENGTH, help_text="Said to everybody whose deploy is refused.")
    until = StrictTimeField(
        required=False, allow_null=True, help_text="When it ends by itself; left out, when released."
    )

    def validate_reason(self, reason: str) -> str:
        """Raises ValidationError: a blank says nothing to those who are refused."""
        if not reason.strip():
            self.fields["reason"].fail("blank")
        return reason


class HoldSerializer(serializers.Serializer[Any]):
    service = serializers.CharField()
    held = serializers.BooleanField()
    reason = serializers.CharField(allow_null=True)
    held_by = serializers.CharField(allow_null=True)
    held_at = serializers.DateTimeField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True, help_text="null: until it is released.")


class ServiceHold(APIView):
    operation_id: ClassVar[dict[str, str]] = {
        "GET": "get_service_hold", "PUT": "hold_service", "DELETE": "release_service",
    }  # fmt: skip
    required_scope: ClassVar[dict[str, Scope]] = {"GET": Scope.READ, "PUT": Scope.DEPLOY, "DELETE": Scope.DEPLOY}
    write_budget = Budget.URGENT
    refusals: ClassVar[dict[str, Refusals]] = {
        "GET": {404: ("service_not_found",)},
        "PUT": {400: ("until_in_past",), 404: ("service_not_found",)},
        "DELETE": {404: ("service_not_found",)},
    }

    @extend_schema(responses=HoldSerializer)
    def get(self, request: Request, service_name: str) -> Response:
        """Say whether a service is held, by whom, why and since when."""
        return _answer(visible_service(access_of(request), service_name))

    @extend_schema(request=HoldRequestSerializer, responses=HoldSerializer)
    def put(self, request: Request, service_name: str) -> Response:
        """Hold a service: no deploy of it starts from now on. One that is held already keeps its first hold."""
        wanted = HoldRequestSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        hold = hold_service(access=access_of(request), service_name=service_name, **wanted.validated_data)
        return _answer(hold.service)

    @extend_schema(responses=HoldSerializer)
    def delete(self, request: Request, service_name: str) -> Response:
        """Release a service: deploys start again. Fine for one that is not held."""
        return _answer(release_service(access=access_of(request), service_name=service_name))


def _answer(service: Service) -> Response:
    hold = active_hold(service)
    return Response(
        {
            "service": service.name,
            "held": hold is not None,
            "reason": hold.reason if hold else None,
            "held_by": hold.held_by if hold else None,
            "held_at": hold.held_at if hold else None,
            "until": hold.until if hold else None,
        }
    )
