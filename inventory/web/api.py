"""What runs where, over HTTP."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inventory.instances.queries import instance_history, service_instances, service_versions
from inventory.security.access import Scope, access_of
from inventory.wire.query import query_of
from inventory.wire.refusals import Refusals
from inventory.wire.serializers import (
    HistorySerializer,
    PageSerializer,
    ServiceInstancesSerializer,
    ServiceVersionsSerializer,
)


class ServiceVersions(APIView):
    operation_id = "get_service_versions"
    required_scope = Scope.READ
    refusals: ClassVar[Refusals] = {404: ("service_not_found",)}

    @extend_schema(responses=ServiceVersionsSerializer)
    def get(self, request: Request, service_name: str) -> Response:
        """Which version every instance of a service runs."""
        return Response(service_versions(access_of(request), service_name))


class ServiceInstances(APIView):
    operation_id = "list_service_instances"
    required_scope = Scope.READ
    refusals: ClassVar[Refusals] = {404: ("service_not_found",)}

    @extend_schema(responses=ServiceInstancesSerializer)
    def get(self, request: Request, service_name: str) -> Response:
        """A service's instances with their reported health."""
        return Response(service_instances(access_of(request), service_name))


class InstanceHistory(APIView):
    operation_id = "get_instance_history"
    required_scope = Scope.READ
    refusals: ClassVar[Refusals] = {404: ("instance_not_found",)}

    @extend_schema(parameters=[PageSerializer], responses=HistorySerializer)
    def get(self, request: Request, instance_id: str) -> Response:
        """Every change of an instance's version, status and health, newest first."""
        page = PageSerializer(data=query_of(request))
        page.is_valid(raise_exception=True)
        cursor, limit = page.validated_data.get("cursor"), page.validated_data["limit"]
        return Response(instance_history(access_of(request), instance_id, cursor=cursor, limit=limit))
