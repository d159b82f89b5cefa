"""Paths of the HTTP API that belong to no one app. Included last: it ends with the 404 for all of /v1."""

from __future__ import annotations

from django.urls import path, re_path

from releasesite.api.docs import DocsView, SchemaView
from releasesite.api.metrics import Metrics
from releasesite.api.probes import Health, Readiness
from releasesite.api.unknown import UnknownPath

urlpatterns = [
    path("healthz", Health.as_view(), name="healthz"),
    path("readyz", Readiness.as_view(), name="readyz"),
    path("metrics", Metrics.as_view(), name="metrics"),
    path("v1/schema", SchemaView.as_view(), name="schema"),
    path("v1/docs", DocsView.as_view(), name="docs"),
    re_path(r"^[/]*v1(/[\s\S]*)?\Z", UnknownPath.as_view()),
]
