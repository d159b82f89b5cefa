from __future__ import annotations

from django.urls import path

from releasesite.login.oidc import views

urlpatterns = [
    path("login/oidc", views.start, name="oidc-login"),
    path("login/oidc/callback", views.callback, name="oidc-callback"),
    path("logout", views.Logout.as_view(), name="logout"),
]
