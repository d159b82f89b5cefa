"""Paths of services and instances (CONTRACT.md, "HTTP API")."""

from __future__ import annotations

from django.urls import path

from inventory.web import api, node_reports
from inventory.web.inventory import InstanceView, InventoryView, NodeView
from inventory.wire.converters import register_converters

register_converters()

urlpatterns = [
    path("v1/inventory", InventoryView.as_view(), name="inventory"),
    path("v1/service/<name:service_name>/instances/versions", api.ServiceVersions.as_view(), name="service-versions"),
    path("v1/service/<name:service_name>/instances", api.ServiceInstances.as_view(), name="service-instances"),
    path("v1/service/<name:service_name>/sync", node_reports.ServiceSync.as_view(), name="service-sync"),
    path("v1/instance/<name:instance_id>", InstanceView.as_view(), name="instance-retire"),
    path("v1/node/<name:name>", NodeView.as_view(), name="node-retire"),
    path("v1/instance/<name:instance_id>/report", node_reports.InstanceReport.as_view(), name="instance-report"),
    path("v1/instance/<name:instance_id>/history", api.InstanceHistory.as_view(), name="instance-history"),
]
