"""The address a request comes from."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The caller's IP address. X-Forwarded-For counts only as far as proxies we trust have written it."""
    address: str = request.META.get("REMOTE_ADDR", "")
    forwarded = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",") if part.strip()]
    while forwarded and _is_trusted_proxy(address):
        address = forwarded.pop()
    return address


def _is_trusted_proxy(address: str) -> bool:
    networks: list[str] = getattr(settings, "TRUSTED_PROXIES", [])
    try:
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in networks)
    except ValueError:
        return False
