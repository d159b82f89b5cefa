"""Pages of the console. An operation's page is one view for both kinds."""

from __future__ import annotations

from django.urls import path

from deploys.states import Kind
from deploys.web.pages.views import (
    adoption,
    deploy_form,
    history,
    hold,
    instance,
    log,
    node,
    operation,
    overview,
    search,
    service,
)
from inventory.wire.converters import register_converters

register_converters()

urlpatterns = [
    path("", overview.show, name="overview"),
    path("search", search.show, name="search"),
    path("history", history.show, name="history"),
    path("deploy", deploy_form.start, name="deploy-start"),
    path("services/<name:name>", service.show, name="service"),
    path("services/<name:name>/hold", hold.hold, name="service-hold-page"),
    path("services/<name:name>/release", hold.release, name="service-release"),
    path("services/<name:name>/adopt", adoption.show, name="service-adopt"),
    path("instances/<name:instance_id>", instance.show, name="instance"),
    path("nodes/<name:node_name>", node.show, name="node"),
]
urlpatterns += [path("deploys/<operation_id:public_id>/confirm", operation.confirm, name="deploy-keep")]
for kind in Kind:
    at = f"{kind}s/<operation_id:public_id>"
    urlpatterns += [
        path(at, operation.show, {"kind": kind}, name=str(kind)),
        path(f"{at}/log", log.part, {"kind": kind}, name=f"{kind}-log-part"),
        path(f"{at}/log.txt", log.download, {"kind": kind}, name=f"{kind}-log-file"),
        path(f"{at}/cancel", operation.cancel, {"kind": kind}, name=f"{kind}-stop"),
        path(f"{at}/retry", operation.retry, {"kind": kind}, name=f"{kind}-again"),
    ]
