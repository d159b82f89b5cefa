"""Paths of rollbacks (CONTRACT.md, "HTTP API")."""

from __future__ import annotations

from django.urls import path

from inventory.wire.converters import register_converters
from rollbacks import api

register_converters()

urlpatterns = [
    path("v1/rollback/instance", api.RollbackInstance.as_view(), name="rollback-instance"),
    path("v1/rollback/batch", api.RollbackBatch.as_view(), name="rollback-batch"),
    path("v1/rollback/list", api.RollbackList.as_view(), name="rollback-list"),
    path("v1/rollback/status/<operation_id:rollback_id>", api.RollbackStatus.as_view(), name="rollback-status"),
    path("v1/rollback/logs/<operation_id:rollback_id>", api.RollbackLog.as_view(), name="rollback-logs"),
    path("v1/rollback/cancel/<operation_id:rollback_id>", api.RollbackCancel.as_view(), name="rollback-cancel"),
    path("v1/rollback/retry/<operation_id:rollback_id>", api.RollbackRetry.as_view(), name="rollback-retry"),
]
