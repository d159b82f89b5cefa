"""Deploys over HTTP. What both kinds of operation share stands in `deploys.web.api.operations`."""

from __future__ import annotations

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deploys.error_codes import ErrorCode
from deploys.operations.confirm import confirm_deploy
from deploys.operations.start import start_deploy
from deploys.web.api.operations import (
    OperationCancelView,
    OperationListView,
    OperationLogView,
    OperationRetryView,
    OperationStatusView,
)
from deploys.web.api.serializers import (
    ChangedDeploySerializer,
    ConfirmedDeploySerializer,
    ConfirmSerializer,
    DeployListSerializer,
    DeployStatusSerializer,
    ExecuteSerializer,
    LogQuerySerializer,
    LogSerializer,
    OperationListSerializer,
    RetrySerializer,
    StartedDeploySerializer,
)
from inventory.security.access import Scope, access_of
from inventory.wire.budgets import Budget
from inventory.wire.refusals import Refusals
from inventory.wire.serializers import NothingSerializer


class DeployExecute(APIView):
    operation_id = "execute_deploy"
    required_scope = Scope.DEPLOY
    refusals: ClassVar[Refusals] = {
        400: (
            "duplicate_instance",
            "instance_not_found",
            "service_not_found",
            "sha256_required",
            "signing_key_unset",
            "nothing_to_revert_to",
            "confirm_without_switch",
        ),
        404: ("service_not_found",),
        409: ("deploy_id_reused", "workers_outdated", "service_held", "instance_busy", "instance_retired"),
    }

    @extend_schema(request=ExecuteSerializer, responses={202: StartedDeploySerializer})
    def post(self, request: Request) -> Response:
        """Put a version of a service on these instances."""
        access = access_of(request)
        wanted = ExecuteSerializer(data=request.data).to_request(access)
        operation = start_deploy(access=access, request=wanted)
        return Response(
            {
                "deploy_id": operation.public_id,
                "status": "started",
                "message": "deployment started successfully",
                "started_at": operation.started_at,
            },
            status=202,
        )


@extend_schema(responses=DeployStatusSerializer)
class DeployStatus(OperationStatusView):
    operation_id = "get_deploy_status"
    refusals: ClassVar[Refusals] = {404: ("deploy_not_found",)}


@extend_schema(parameters=[OperationListSerializer], responses=DeployListSerializer)
class DeployList(OperationListView):
    operation_id = "list_deploys"


@extend_schema(parameters=[LogQuerySerializer], responses=LogSerializer)
class DeployLog(OperationLogView):
    operation_id = "get_deploy_log"
    refusals: ClassVar[Refusals] = {404: ("deploy_not_found", "instance_not_found")}


@extend_schema(request=NothingSerializer, responses={202: ChangedDeploySerializer})
class DeployCancel(OperationCancelView):
    operation_id = "cancel_deploy"
    refusals: ClassVar[Refusals] = {404: ("deploy_not_found",), 409: ("already_finished",)}


class DeployConfirm(APIView):
    operation_id = "confirm_deploy"
    required_scope = Scope.DEPLOY
    write_budget = Budget.URGENT
    refusals: ClassVar[Refusals] = {
        400: ("duplicate_instance", "instance_not_found"),
        404: ("deploy_not_found",),
        409: ("already_reverted", "not_waiting"),
    }

    @extend_schema(request=ConfirmSerializer, responses={202: ConfirmedDeploySerializer})
    def post(self, request: Request, deploy_id: str) -> Response:
        """Keep what waits to be confirmed; the rest of it goes back by itself."""
        wanted = ConfirmSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        confirmed = confirm_deploy(
            access=access_of(request), public_id=deploy_id, instances=wanted.validated_data.get("instances")
        )
        answer = {"deploy_id": deploy_id, "status": "confirmed", "message": "deploy confirmed", "instances": confirmed}
        return Response(answer, status=202)


@extend_schema(request=RetrySerializer, responses={202: ChangedDeploySerializer})
class DeployRetry(OperationRetryView):
    operation_id = "retry_deploy"
    refusals: ClassVar[Refusals] = {
        404: ("deploy_not_found",),
        409: (
            "attempt_mismatch",
            "nothing_to_retry",
            "cancel_in_progress",
            ErrorCode.PACKAGE_DIGEST_CONFLICT,
            "workers_outdated",
            "service_held",
            "instance_busy",
            "instance_retired",
        ),
    }
