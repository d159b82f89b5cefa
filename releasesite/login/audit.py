"""Logins, logouts and failed logins, into the audit. Django tells of them by signals alone."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from inventory.actors import Actor, ActorKind
from inventory.security import audit
from releasesite.api.addresses import client_address
from releasesite.login.names import NOBODYS, is_known


def connect() -> None:
    user_logged_in.connect(_logged_in, dispatch_uid="login_audit.in")
    user_logged_out.connect(_logged_out, dispatch_uid="login_audit.out")
    user_login_failed.connect(_failed, dispatch_uid="login_audit.failed")


def _logged_in(sender: object, request: HttpRequest | None, user: Any, **_: object) -> None:
    provider = getattr(request, "login_by", "")
    _record("login", user.get_username(), request, **({"provider": provider} if provider else {}))


def _logged_out(sender: object, request: HttpRequest | None, user: Any, **_: object) -> None:
    if user is not None:
        _record("logout", user.get_username(), request)


def _failed(sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **_: object) -> None:
    name = str(credentials.get("username", ""))
    _record("login.fail", name if is_known(name) else NOBODYS, request)


def _record(action: str, name: str, request: HttpRequest | None, **detail: str) -> None:
    actor = Actor(kind=ActorKind.PERSON, name=name, address=client_address(request) if request is not None else "")
    audit.record(actor=actor, action=action, object_kind="user", object_id=name, detail=detail)
