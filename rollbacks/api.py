"""Rollbacks over HTTP."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deploys.error_codes import ErrorCode
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
from deploys.web.api.serializers import LogQuerySerializer, LogSerializer, OperationListSerializer, RetrySerializer
from inventory.security.access import Scope, access_of
from inventory.wire.budgets import Budget
from inventory.wire.refusals import Refusals
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
    operation_id = "roll_back_instance"
    required_scope = Scope.DEPLOY
    write_budget = Budget.URGENT
    refusals: ClassVar[Refusals] = {
        400: ("instance_not_found", "no_previous_version", "package_unknown", "sha256_required"),
        404: ("instance_not_found",),
        409: ("rollback_id_reused", "instance_busy", "instance_retired"),
    }

    @extend_schema(
        request=InstanceRollbackSerializer,
        responses={202: StartedInstanceRollbackSerializer},
    )
    def post(self, request: Request) -> Response:
        """Roll one instance back."""
        access = access_of(request)
        wanted = InstanceRollbackSerializer(data=request.data).to_request(access)
        operation = start_instance_rollback(access=access, request=wanted)
        return _started(operation, "rollback started successfully", instance_id=wanted.instance_id)


class RollbackBatch(APIView):
    operation_id = "roll_back_batch"
    required_scope = Scope.DEPLOY
    write_budget = Budget.URGENT
    refusals: ClassVar[Refusals] = {
        400: (
            "duplicate_instance",
            "instance_not_found",
            "service_not_found",
            "no_instance_matches",
            "package_unknown",
            "sha256_required",
        ),
        403: ("password_required",),
        404: ("service_not_found",),
        409: ("rollback_id_reused", "instance_busy", "instance_retired"),
    }

    @extend_schema(request=BatchRollbackSerializer, responses={202: StartedBatchRollbackSerializer})
    def post(self, request: Request) -> Response:
        """Roll many instances of a service back."""
        access = access_of(request)
        wanted = BatchRollbackSerializer(data=request.data).to_request(access)
        operation = start_batch_rollback(access=access, request=wanted)
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
    operation_id = "get_rollback_status"
    kind = Kind.ROLLBACK
    refusals: ClassVar[Refusals] = {404: ("rollback_not_found",)}


@extend_schema(parameters=[OperationListSerializer], responses=RollbackListSerializer)
class RollbackList(OperationListView):
    operation_id = "list_rollbacks"
    kind = Kind.ROLLBACK


@extend_schema(parameters=[LogQuerySerializer], responses=LogSerializer)
class RollbackLog(OperationLogView):
    operation_id = "get_rollback_log"
    kind = Kind.ROLLBACK
    refusals: ClassVar[Refusals] = {404: ("rollback_not_found", "instance_not_found")}


@extend_schema(request=NothingSerializer, responses={202: ChangedRollbackSerializer})
class RollbackCancel(OperationCancelView):
    operation_id = "cancel_rollback"
    kind = Kind.ROLLBACK
    refusals: ClassVar[Refusals] = {404: ("rollback_not_found",), 409: ("already_finished",)}


@extend_schema(request=RetrySerializer, responses={202: ChangedRollbackSerializer})
class RollbackRetry(OperationRetryView):
    operation_id = "retry_rollback"
    kind = Kind.ROLLBACK
    write_budget = Budget.URGENT
    refusals: ClassVar[Refusals] = {
        404: ("rollback_not_found",),
        409: (
            "attempt_mismatch",
            "nothing_to_retry",
            "cancel_in_progress",
            ErrorCode.PACKAGE_DIGEST_CONFLICT,
            "instance_busy",
            "instance_retired",
        ),
        403: ("password_required",),
    }
