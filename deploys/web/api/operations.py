"""What the HTTP views of deploys and rollbacks share; each kind subclasses it."""

from __future__ import annotations

from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control
from django.views.decorators.http import conditional_page
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deploys.operations import queries
from deploys.operations.cancel import cancel_operation
from deploys.operations.retry import retry_operation
from deploys.operations.status_tag import status_tag
from deploys.states import Kind
from deploys.web.api.serializers import (
    LogQuerySerializer,
    OperationListSerializer,
    RetrySerializer,
)
from inventory.security.access import Scope, access_of
from inventory.wire.budgets import Budget
from inventory.wire.query import query_of
from inventory.wire.serializers import NothingSerializer


class OperationView(APIView):
    """A view of one kind of operation."""

    kind = Kind.DEPLOY
    required_scope = Scope.READ

    @property
    def public_id(self) -> str:
        return str(self.kwargs[f"{self.kind}_id"])


@method_decorator((cache_control(private=True, no_cache=True), conditional_page), name="dispatch")
class OperationStatusView(OperationView):
    def get(self, request: Request, **ids: str) -> HttpResponseBase:
        """How far it is, instance by instance."""
        # Before what is answered is read: a tag may be older than its answer, never newer.
        tag = status_tag(access_of(request), self.kind, self.public_id)
        unchanged = get_conditional_response(request._request, etag=tag) if tag else None
        answer = unchanged or Response(queries.operation_payload(access_of(request), self.kind, self.public_id))
        if tag:
            answer["ETag"] = tag
        return answer


class OperationListView(OperationView):
    def get(self, request: Request) -> Response:
        """Newest first, in pages."""
        wanted = OperationListSerializer(data=query_of(request, lists=("status",)))
        wanted.is_valid(raise_exception=True)
        page = queries.OperationFilter(**wanted.validated_data)
        return Response(queries.operation_list(access_of(request), self.kind, page))


class OperationLogView(OperationView):
    def get(self, request: Request, **ids: str) -> Response:
        """The log's lines after a cursor, or its last ones."""
        wanted = LogQuerySerializer(data=query_of(request))
        wanted.is_valid(raise_exception=True)
        log = queries.operation_log(access_of(request), self.kind, self.public_id, **wanted.validated_data)
        return Response(log)


class OperationCancelView(OperationView):
    required_scope = Scope.DEPLOY
    write_budget = Budget.URGENT

    def post(self, request: Request, **ids: str) -> Response:
        """Stop it: what has not begun at once, the rest at its next safe point."""
        NothingSerializer(data=request.data).is_valid(raise_exception=True)
        operation = cancel_operation(access=access_of(request), kind=self.kind, public_id=self.public_id)
        answer = {
            f"{self.kind}_id": operation.public_id,
            "status": "cancelled" if operation.finished_at else "cancelling",
            "message": f"{self.kind} is being cancelled" if operation.finished_at is None else f"{self.kind} cancelled",
            "instances": queries.cancelled_instances(operation),
        }
        return Response(answer, status=202)


class OperationRetryView(OperationView):
    required_scope = Scope.DEPLOY

    def post(self, request: Request, **ids: str) -> Response:
        """Try its failed and cancelled instances again, by another link if one is given."""
        wanted = RetrySerializer(data=request.data).to_request()
        operation = retry_operation(access=access_of(request), kind=self.kind, public_id=self.public_id, request=wanted)
        answer = {
            f"{self.kind}_id": operation.public_id,
            "status": "started",
            "message": f"attempt {operation.attempt} started successfully",
            "instances": queries.retried_instances(operation),
        }
        return Response(answer, status=202)
