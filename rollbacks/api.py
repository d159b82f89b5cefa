"""Rollbacks over HTTP."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deploys.models import Operation
from deploys.operations.queries import changed_nothing, target_instances
from deploys.states import Kind
from deploys.web.api.operations import (
    OperationCancelView,
    OperationListView,
    OperationLogView,
    OperationRetryView,
    OperationStatusView,
)
from deploys.web.api.serializers import LogQuerySerializer, LogSerializer, OperationListSerializer
from inventory.security.access import Scope, access_of
from inventory.wire.serializers import NothingSerializer
from rollbacks.serializers import (
    BatchRollbackSerializer,
    ChangedRollbackSerializer,
    InstanceRollbackSerializer,
    RollbackListSerializer,
    RollbackStatusSerializer,
    StartedBatchRollbackSerializer,
    StartedInstanceRollbackSerializer,
)
from rollbacks.services import start_batch_rollback, start_instance_rollback


class RollbackInstance(APIView):
    required_scope = Scope.DEPLOY

    @extend_schema(request=InstanceRollbackSerializer, responses={202: StartedInstanceRollbackSerializer})
    def post(self, request: Request) -> Response:
        """Roll one instance back."""
        wanted = InstanceRollbackSerializer(data=request.data).to_request()
        operation = start_instance_rollback(access=access_of(request), request=wanted)
        return _started(operation, "rollback started successfully", instance_id=wanted.instance_id)


class RollbackBatch(APIView):
    required_scope = Scope.DEPLOY

    @extend_schema(request=BatchRollbackSerializer, responses={202: StartedBatchRollbackSerializer})
    def post(self, request: Request) -> Response:
        """Roll many instances of a service back."""
        wanted = BatchRollbackSerializer(data=request.data).to_request()
        operation = start_batch_rollback(access=access_of(request), request=wanted)
        instances = target_instances(operation)
        return _started(operation, "batch rollback started successfully", service=wanted.service, instances=instances)


def _started(operation: Operation, message: str, **of_what: object) -> Response:
    if changed_nothing(operation):
        message = f"nothing had to be changed: {operation.version} is running already"
    answer = {
        "rollback_id": operation.public_id,
        **of_what,
        "target_version": operation.version,
        "status": "started",
        "message": message,
        "started_at": operation.started_at,
    }
    return Response(answer, status=202)


@extend_schema(responses=RollbackStatusSerializer)
class RollbackStatus(OperationStatusView):
    kind = Kind.ROLLBACK


@extend_schema(parameters=[OperationListSerializer], responses=RollbackListSerializer)
class RollbackList(OperationListView):
    kind = Kind.ROLLBACK


@extend_schema(parameters=[LogQuerySerializer], responses=LogSerializer)
class RollbackLog(OperationLogView):
    kind = Kind.ROLLBACK


@extend_schema(request=NothingSerializer, responses={202: ChangedRollbackSerializer})
class RollbackCancel(OperationCancelView):
    kind = Kind.ROLLBACK


@extend_schema(request=NothingSerializer, responses={202: ChangedRollbackSerializer})
class RollbackRetry(OperationRetryView):
    kind = Kind.ROLLBACK
