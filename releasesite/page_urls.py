"""Pages about the person."""

from __future__ import annotations

from django.contrib.auth import views as auth_views
from django.urls import path

from releasesite import views

urlpatterns = [
    path("login", views.Login.as_view(), name="login"),
    path("logout", auth_views.LogoutView.as_view(), name="logout"),
    path("password", views.PasswordChange.as_view(), name="password"),
    path("preferences", views.preferences, name="preferences"),
]
