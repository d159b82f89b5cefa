"""The inventory over HTTP: the document of the inventory file as JSON, in and out."""

from __future__ import annotations

from typing import ClassVar

from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import parse_etags
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inventory.editing.file.apply import bring_in
from inventory.editing.file.read_json import read_json
from inventory.editing.retirement import retire_instance, retire_node
from inventory.editing.stored_document import etag_of, stored_document
from inventory.errors import InvalidRequest
from inventory.security.access import Scope, access_of
from inventory.wire.inventory_document import InventoryChanges, InventoryDocument, InventoryQuery
from inventory.wire.query import query_of
from inventory.wire.refusals import Refusals

_IF_MATCH = OpenApiParameter(
    "If-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The ETag of what you changed; 412 if the inventory has changed since.",
)


_PASSING = ("instance_busy", "node_busy", "service_busy")
_FAULTS = (
    "invalid_inventory", "unknown_key", "unknown_field", "required", "null", "wrong_type", "invalid", "too_large",
    "duplicate", "unknown_service", "unknown_node", "unknown_jump", "deploy_root_taken", "jump_circle", *_PASSING,
)  # fmt: skip


class InventoryView(APIView):
    operation_id: ClassVar = {"GET": "get_inventory", "PUT": "put_inventory"}
    required_scope = Scope.INVENTORY
    refusals: ClassVar[dict[str, Refusals]] = {
        "PUT": {
            400: (*_FAULTS, "invalid_etag"),
            403: ("limited_to_services", *_FAULTS),
            409: (*_PASSING, "conflict"),
            412: ("precondition_failed",),
        }
    }
    # 10,000 instances, each on a node of its own, with room to spare.
    max_body_bytes = 8 * 1024**2

    @extend_schema(responses=InventoryDocument)
    def get(self, request: Request) -> HttpResponseBase:
        """The whole inventory, or one's own services' part of it."""
        document = stored_document(access_of(request))
        answer = Response(document, headers={"ETag": etag_of(document), "Cache-Control": "private, no-cache"})
        return get_conditional_response(request._request, etag=answer["ETag"], response=answer) or answer

    @extend_schema(parameters=[InventoryQuery, _IF_MATCH], request=InventoryDocument, responses=InventoryChanges)
    def put(self, request: Request) -> Response:
        """Create and update what the document names; nothing is deleted. All or nothing."""
        query = InventoryQuery(data=query_of(request))
        query.is_valid(raise_exception=True)
        report = bring_in(
            read_json(request.data),
            access=access_of(request),
            dry_run=query.validated_data["dry_run"] == "true",
            if_match=_etags(request.headers.get("If-Match")),
        )
        return Response(report.as_json())


class InstanceView(APIView):
    operation_id = "retire_instance"
    required_scope = Scope.INVENTORY
    refusals: ClassVar[Refusals] = {404: ("instance_not_found",), 409: ("instance_busy",)}

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request, instance_id: str) -> Response:
        """Retire an instance: it is no longer listed or chosen; its history and its id are kept."""
        retire_instance(access=access_of(request), instance_id=instance_id)
        return Response(status=204)


class NodeView(APIView):
    operation_id = "retire_node"
    required_scope = Scope.INVENTORY
    refusals: ClassVar[Refusals] = {
        403: ("limited_to_services",),
        404: ("node_not_found",),
        409: ("node_in_use",),
    }

    @extend_schema(request=None, responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        """Retire a node on which no instance is; its name is kept."""
        retire_node(access=access_of(request), name=name)
        return Response(status=204)


def _etags(header: str | None) -> list[str]:
    """None given: none. A proxy that compresses answers makes their ETags weak: the document is the same."""
    if header is None:
        return []
    etags = [etag.removeprefix("W/") for etag in parse_etags(header)]
    if not etags:
        raise InvalidRequest(_("If-Match must be an ETag as it was answered, in its quotes."), code="invalid_etag")
    return etags
