"""Paths of deploys (CONTRACT.md, "HTTP API")."""

from __future__ import annotations

from django.urls import path, re_path

from deploys.web.api import deploys
from deploys.web.api.artifacts import ArtifactDownload
from deploys.web.api.hold import ServiceHold
from inventory.wire.converters import register_converters

register_converters()

urlpatterns = [
    path("v1/deploy/execute", deploys.DeployExecute.as_view(), name="deploy-execute"),
    path("v1/deploy/list", deploys.DeployList.as_view(), name="deploy-list"),
    path("v1/deploy/status/<operation_id:deploy_id>", deploys.DeployStatus.as_view(), name="deploy-status"),
    path("v1/deploy/logs/<operation_id:deploy_id>", deploys.DeployLog.as_view(), name="deploy-logs"),
    path("v1/deploy/confirm/<operation_id:deploy_id>", deploys.DeployConfirm.as_view(), name="deploy-confirm"),
    path("v1/deploy/cancel/<operation_id:deploy_id>", deploys.DeployCancel.as_view(), name="deploy-cancel"),
    path("v1/deploy/retry/<operation_id:deploy_id>", deploys.DeployRetry.as_view(), name="deploy-retry"),
    path("v1/service/<name:service_name>/hold", ServiceHold.as_view(), name="service-hold"),
    re_path(r"^v1/artifacts/(?P<sha256>[0-9a-f]{64})\Z", ArtifactDownload.as_view(), name="artifact"),
]
