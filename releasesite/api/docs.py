"""The API's own description, and a page to try it on."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.shortcuts import redirect, resolve_url
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotAuthenticated
from rest_framework.response import Response

from inventory.security.access import Scope


class SchemaView(SpectacularAPIView):
    required_scope = Scope.READ
    renderer_classes = [OpenApiJsonRenderer]


class DocsView(SpectacularSwaggerSplitView):
    """Its scripts and styles are files of ours; nothing is inline, so the strict Content-Security-Policy holds."""

    required_scope = Scope.READ
    url_name = "schema"
    template_name = "docs.html"

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, NotAuthenticated):
            query = urlencode({"next": self.request.get_full_path()})
            return redirect(f"{resolve_url(settings.LOGIN_URL)}?{query}")  # type: ignore[return-value]
        return super().handle_exception(exc)
