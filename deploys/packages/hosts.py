"""Which hosts packages may come from (RELEASE_PACKAGE_HOSTS), and which addresses such a host may have.

An entry is `host` or `host:port`. Without a port it allows the scheme's own port only (80, 443): another port is
another service, often somebody else's. Names are compared whole, after lower-casing and IDNA; an address is a name like
any other, in one spelling only, so that `127.1` or `2130706433` never pass for `127.0.0.1`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from inventory.told import Told
from inventory.told import marked as _

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class HostRule:
    """One allowed host. port None: the scheme's own."""

    host: str
    port: int | None

    @classmethod
    def parse(cls, entry: str) -> HostRule:
        """Raises ValueError, saying what an entry looks like."""
        parts = urlsplit(f"//{entry.strip()}")
        if not parts.hostname or parts.netloc != entry.strip() or "@" in parts.netloc or parts.port == 0:
            raise ValueError(f"{entry!r} is not a host or host:port")
        host = normal_host(parts.hostname)
        if _as_address(host) is None and _NAME.fullmatch(host) is None:
            raise ValueError(f"{entry!r} is not a host or host:port")
        return cls(host=host, port=parts.port)

    def allows(self, scheme: str, host: str, port: int) -> bool:
        return self.host == host and port == (self.port or DEFAULT_PORTS[scheme])

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        address = _as_address(self.host)
        return address is not None and address.is_loopback


def rule_for(rules: Iterable[HostRule], scheme: str, host: str, port: int) -> HostRule | None:
    """The entry that allows this host at this port; None: it is not allowed."""
    host = normal_host(host)
    return next((rule for rule in rules if rule.allows(scheme, host, port)), None)


def url_problem(url: str, rules: Iterable[HostRule], setting: str) -> Told | None:
    """Why nothing is asked of this URL's host, by its name; None when it may be. Raises ValueError for what is no URL.

    setting: the name of the variable that has the rules.
    """
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS:
        return Told(_("scheme %(scheme)s is not http or https"), {"scheme": repr(parts.scheme)})
    if not parts.hostname:
        return Told(_("it names no host"))
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    return None if rule_for(rules, parts.scheme, parts.hostname, port) else not_listed(parts.hostname, port, setting)


def not_listed(host: str, port: int, setting: str) -> Told:
    return Told(_("%(host)s is not in %(setting)s"), {"host": f"{bracketed(host)}:{port}", "setting": setting})


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def normal_host(host: str) -> str:
    host = host.lower()
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{host!r} is not a host name") from None


# Never a package host, whatever a name says: this host, link-local (where clouds keep instance credentials), multicast,
# reserved, and the IPv6 spellings of IPv4 addresses, behind which any of these may hide (IANA's special-purpose
# address registries).
_REFUSED = {
    ipaddress.ip_network(network): what
    for network, what in {
        "0.0.0.0/8": _("an unspecified address"),
        "169.254.0.0/16": _("a link-local address"),
        "192.0.0.0/24": _("a reserved address"),
        "224.0.0.0/4": _("a multicast address"),
        "240.0.0.0/4": _("a reserved address"),
        "100.100.100.200/32": _("a cloud's metadata service"),
        "168.63.129.16/32": _("a cloud's metadata service"),
        "fd00:ec2::254/128": _("a cloud's metadata service"),
        "::/128": _("an unspecified address"),
        "fe80::/10": _("a link-local address"),
        "fec0::/10": _("a site-local address"),
        "ff00::/8": _("a multicast address"),
        "100::/64": _("a reserved address"),
        "64:ff9b:1::/48": _("an IPv4 address embedded in IPv6"),
        "2001::/32": _("an IPv4 address embedded in IPv6"),
        "2002::/16": _("an IPv4 address embedded in IPv6"),
        "::ffff:0:0/96": _("an IPv4 address embedded in IPv6"),
    }.items()
}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")


def address_problem(address: str, rule: HostRule) -> str:
    """A msgid: why a package may not come from this address, though its name is allowed by `rule`; "" when it may.

    Private addresses are fine: an internal package host has one. Loopback is fine only where the entry itself says so.
    """
    if "%" in address:
        return _("a link-local address")
    ip = ipaddress.ip_address(address)
    if ip in _NAT64:
        # The way out of a network that has IPv6 only.
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.is_loopback:
        return "" if rule.is_loopback else _("a loopback address")
    for network, what in _REFUSED.items():
        if ip in network:
            return what
    return _("an IPv4 address embedded in IPv6") if ip in _IPV4_COMPATIBLE else ""


def literal_address_problem(host: str, rule: HostRule) -> str:
    """As `address_problem` of a host that is written as an address; "" for a name, too."""
    return address_problem(host, rule) if "%" in host or _as_address(host) is not None else ""


def _as_address(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
