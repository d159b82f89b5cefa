"""The only file that knows every app."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("", include("deploys.urls")),
    path("", include("rollbacks.urls")),
    path("", include("inventory.urls")),
    path("", include("releasesite.api.urls")),
    path("", include("deploys.page_urls")),
    path("", include("rollbacks.page_urls")),
    path("", include("inventory.page_urls")),
    path("", include("releasesite.page_urls")),
]
