"""Pages about the person."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth import views as auth_views
from django.urls import path

from releasesite import views
from releasesite.login.views import Login, PasswordChange

urlpatterns = [
    path("login", Login.as_view(), name="login"),
    path("logout", auth_views.LogoutView.as_view(), name="logout"),
    path("password", PasswordChange.as_view(), name="password"),
    path("preferences", views.preferences, name="preferences"),
]
if settings.OIDC is not None:
    from releasesite.login.oidc import urls

    urlpatterns = [*urls.urlpatterns, *urlpatterns]  # its way out goes before
