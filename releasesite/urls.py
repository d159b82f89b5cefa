"""The only file that knows every app."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

urlpatterns: list[URLPattern | URLResolver] = [
    # One way to log in, log out and change the password: the console's.
    path("admin/login/", RedirectView.as_view(pattern_name="login", query_string=True)),
    path("admin/password_change/", RedirectView.as_view(pattern_name="password")),
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

handler400 = "releasesite.views.bad_request"
handler500 = "releasesite.views.server_error"
