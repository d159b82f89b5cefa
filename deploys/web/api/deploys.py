"""Deploys over HTTP. What both kinds of operation share stands in `deploys.web.api.operations`."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

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
    DeployListSerializer,
    DeployStatusSerializer,
    ExecuteSerializer,
    LogQuerySerializer,
    LogSerializer,
    OperationListSerializer,
    StartedDeploySerializer,
)
from inventory.security.access import Scope, access_of
from inventory.wire.serializers import NothingSerializer


class DeployExecute(APIView):
    required_scope = Scope.DEPLOY

    @extend_schema(request=ExecuteSerializer, responses={202: StartedDeploySerializer})
    def post(self, request: Request) -> Response:
        """Put a version of a service on these instances."""
        wanted = ExecuteSerializer(data=request.data).to_request()
        operation = start_deploy(access=access_of(request), request=wanted)
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
    pass


@extend_schema(parameters=[OperationListSerializer], responses=DeployListSerializer)
class DeployList(OperationListView):
    pass


@extend_schema(parameters=[LogQuerySerializer], responses=LogSerializer)
class DeployLog(OperationLogView):
    pass


@extend_schema(request=NothingSerializer, responses={202: ChangedDeploySerializer})
class DeployCancel(OperationCancelView):
    pass


@extend_schema(request=NothingSerializer, responses={202: ChangedDeploySerializer})
class DeployRetry(OperationRetryView):
    pass
