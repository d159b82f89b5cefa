"""The address a request comes from."""

from __future__ import annotations

import ipaddress
import re

from django.conf import settings
from django.http import HttpRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# As proxies write it (RFC 7239 has the same): an address, which a port may follow, then in brackets if it is of IPv6.
_WITH_PORT = re.compile(r"\"?(?:\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5})\"?")


def client_address(request: HttpRequest) -> str:
    """The caller's IP address. X-Forwarded-For counts only as far as proxies we trust have written it.

    Where one of them wrote no address (`unknown`), its own is as far as can be told.
    """
    address: str = request.META.get("REMOTE_ADDR", "")
    forwarded = [part.strip() for part in request.headers.get("x-forwarded-for", "").split(",") if part.strip()]
    while forwarded and _is_trusted_proxy(address) and (told := _parsed(forwarded.pop())):
        address = str(told)
    return address


def _parsed(text: str) -> Address | None:
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return address
    # A zone (`fe80::1%eth0`) means something on the proxy alone, and no column takes it.
    return None if address.scope_id else address.ipv4_mapped or address


def _is_trusted_proxy(address: str) -> bool:
    networks: list[str] = getattr(settings, "TRUSTED_PROXIES", [])
    parsed = _parsed(address)
    return parsed is not None and any(parsed in ipaddress.ip_network(network) for network in networks)
