"""What the nodes say, over HTTP: their reports, and reading the versions off them."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inventory.instances.queries import instance_state
from inventory.instances.reports import record_report
from inventory.instances.sync_queue import request_sync
from inventory.security.access import Scope, access_of
from inventory.wire.refusals import Refusals
from inventory.wire.serializers import NothingSerializer, ReportAnswerSerializer, ReportSerializer, SyncAnswerSerializer


class ServiceSync(APIView):
    operation_id = "sync_service"
    required_scope = Scope.DEPLOY
    refusals: ClassVar[Refusals] = {404: ("service_not_found",)}

    @extend_schema(request=NothingSerializer, responses={202: SyncAnswerSerializer})
    def post(self, request: Request, service_name: str) -> Response:
        """Read the running version off every instance of a service."""
        NothingSerializer(data=request.data).is_valid(raise_exception=True)
        request_sync(access=access_of(request), service_name=service_name)
        message = "the versions are being read from the nodes"
        return Response({"service": service_name, "status": "started", "message": message}, status=202)


class InstanceReport(APIView):
    operation_id = "report_instance"
    required_scope = Scope.REPORT
    refusals: ClassVar[Refusals] = {404: ("instance_not_found",), 400: ("empty",)}

    @extend_schema(request=ReportSerializer, responses=ReportAnswerSerializer)
    def post(self, request: Request, instance_id: str) -> Response:
        """A node says what it runs and how it is."""
        report = ReportSerializer(data=request.data)
        report.is_valid(raise_exception=True)
        instance = record_report(access=access_of(request), instance_id=instance_id, report=report.validated_data)
        return Response(instance_state(instance))
