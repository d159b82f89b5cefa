"""The way out through an HTTP proxy (RELEASE_PACKAGE_PROXY).

CONNECT for https (RFC 9110, 9.3.6), the whole URL for http (RFC 9112, 3.2.2).
"""

from __future__ import annotations

import base64
import re
import socket
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from inventory.told import Told
from inventory.told import marked as _

_MOST_HEAD_BYTES = 16 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r\n]")


class ProxyTrouble(OSError):
    """told fits behind a colon, and names no credentials."""

    def __init__(self, told: Told) -> None:
        super().__init__(str(told))
        self.told = told


class ProxyRefusal(ProxyTrouble):
    """It will not be otherwise at the next try."""


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """authorization: the value of Proxy-Authorization, '' without. secrets: what of it is to be masked."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Raises ValueError, without the value."""
        parts = urlsplit(url.strip())
        is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment
        if parts.scheme != "http" or not parts.hostname or parts.port == 0 or not is_bare:
            raise ValueError("not http://host:port")
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.username is None:
            return cls(host=parts.hostname, port=parts.port or 80)
        encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
        secrets = (password, encoded, parts.password or "")
        return cls(host=parts.hostname, port=parts.port or 80, authorization=f"Basic {encoded}", secrets=secrets)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def open_tunnel(self, sock: socket.socket, host: str, port: int) -> None:
        """From here on sock leads to host. Raises ProxyTrouble."""
        asked = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {asked} HTTP/1.1", f"Host: {asked}"]
        if self.authorization:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        sock.sendall("\r\n".join([*lines, "", ""]).encode("idna" if not asked.isascii() else "ascii"))
        self._check(_head(sock), asked)

    def _check(self, head: bytes, asked: str) -> None:
        found = _STATUS_LINE.match(head)
        if found is None:
            text = _("what %(proxy)s answers is no HTTP proxy's answer (RELEASE_PACKAGE_PROXY)")
            raise ProxyTrouble(Told(text, {"proxy": str(self)}))
        status = int(found[1])
        if 200 <= status < 300:
            return
        text = _("the proxy %(proxy)s answered %(status)s when asked for %(host)s (RELEASE_PACKAGE_PROXY)")
        told = Told(text, {"proxy": str(self), "status": status, "host": asked})
        raise ProxyRefusal(told) if 400 <= status < 500 and status not in (408, 429) else ProxyTrouble(told)


def _head(sock: socket.socket) -> bytes:
    """By single bytes: what follows is the tunnel's."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte or len(head) > _MOST_HEAD_BYTES:
            return head if len(head) <= _MOST_HEAD_BYTES else b""
        head += byte
    return head
