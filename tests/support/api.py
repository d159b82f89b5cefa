"""Callers of the API, for tests that speak HTTP to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from inventory.models import Service
from releasesite.models import ApiToken, ServiceLimit


def new_token(scope: str = "deploy", services: Iterable[Service] = (), **fields: Any) -> str:
    """The secret of a token made for this test."""
    return ApiToken.objects.issue(name="scheduler", scope=scope, services=services, **fields)[1]


def with_token(secret: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    return client


def caller(scope: str = "deploy", services: Iterable[Service] = ()) -> APIClient:
    return with_token(new_token(scope, services))


def expired_token() -> str:
    return new_token(expires_in=timedelta(seconds=-1))


def revoked_token() -> str:
    token, secret = ApiToken.objects.issue(name="scheduler", scope="deploy")
    ApiToken.objects.filter(pk=token.pk).update(revoked_at="2024-01-15T10:30:00Z")
    return secret


def person(group: str | None, *, services: Iterable[Service] | None = None, name: str = "ada") -> User:
    user = User.objects.create_user(name)
    if group:
        user.groups.add(Group.objects.get(name=group))
    if services is not None:
        ServiceLimit.objects.create(user=user).services.set(services)
    return user


def logged_in(user: User, *, sends_csrf: bool = True) -> APIClient:
    """A browser of this person. DRF's test client leaves CSRF unchecked unless it is told to enforce it."""
    client = APIClient(enforce_csrf_checks=not sends_csrf)
    client.force_login(user)
    return client
