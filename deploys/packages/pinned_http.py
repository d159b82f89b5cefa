"""HTTP over connections that go to an address that was checked, and to no other.

A name is looked up once, where the connection is made; every address it has is checked; the connection goes to one of
those very addresses. So a name that changes its mind between check and connection (DNS rebinding) gains nothing. Host
header, SNI and certificate are the name's, as ever. There is no session: no cookies, no proxies, no .netrc, and no
redirect is followed here. Through a proxy the name is the proxy's to look up: the rules hold for the name that it is asked for.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence

import requests
from requests.adapters import HTTPAdapter
from requests.utils import urldefragauth
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from deploys.error_codes import ErrorCode
from deploys.packages.cutoff import Cutoff
from deploys.packages.errors import PackageError
from deploys.packages.hosts import (
    DEFAULT_PORTS,
    HostRule,
    address_problem,
    bracketed,
    literal_address_problem,
    not_listed,
    rule_for,
    url_problem,
)
from deploys.packages.proxy import Proxy, ProxyTrouble
from deploys.packages.sources import NONE, Sources, is_signed_link
from inventory.security.redaction import redact_url
from inventory.told import Facts, Told, verbatim
from inventory.told import marked as _

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
_MOST_ADDRESSES = 4
_POLL_MILLISECONDS = 100

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
# Of a URL, or of the host alone, and why not.
Refusal = Callable[[str, Told], Exception]


def package_refusal(url: str, why: Told) -> PackageError:
    return PackageError(
        ErrorCode.PACKAGE_HOST_NOT_ALLOWED,
        Told(
            _(
                "Packages may not come from %(url)s: %(why)s. Use a URL on an allowed host, or have an admin add this one to "
                "RELEASE_PACKAGE_HOSTS."
            ),
            {"url": redact_url(url), "why": why},
        ),
    )


class PinnedClient:
    """Speaks with allowed hosts. For any other it raises, before a byte is sent, what `refusal` makes of it.

    setting: the name of the variable that has the rules. sources: credentials and authorities by host.
    """

    def __init__(
        self,
        rules: Sequence[HostRule],
        cutoff: Cutoff,
        *,
        setting: str = "RELEASE_PACKAGE_HOSTS",
        refusal: Refusal = package_refusal,
        sources: Sources = NONE,
        proxy: Proxy | None = None,
    ) -> None:
        self._rules = rules
        self._cutoff = cutoff
        self._setting = setting
        self._refusal = refusal
        self._sources = sources
        self.proxy = proxy
        self._adapters: dict[str, _PinnedAdapter] = {}

    def get(self, url: str, headers: Mapping[str, str], *, with_credentials: bool = True) -> requests.Response:
        """The response with its body unread; the caller closes it. Raises what requests raises, too.

        with_credentials: send those that `sources` has for the URL's host, over https alone.
        """
        return self._send(requests.Request("GET", url, headers=dict(headers)), with_credentials=with_credentials)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> requests.Response:
        """As `get`."""
        return self._send(requests.Request("POST", url, headers=dict(headers), data=body), with_credentials=False)

    def _send(self, request: requests.Request, *, with_credentials: bool) -> requests.Response:
        prepared = request.prepare()
        url = prepared.url or ""
        self._check(url)
        source = self._sources.of(url)
        if with_credentials and source is not None and source.auth is not None and not is_signed_link(url):
            source.auth(prepared)
        if self.proxy is not None and self.proxy.authorization and url.startswith("http:"):
            prepared.headers["Proxy-Authorization"] = self.proxy.authorization
        ca_file = source.ca_file if source is not None else ""
        return self._adapter(ca_file).send(
            prepared, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), verify=ca_file or True
        )

    def _adapter(self, ca_file: str) -> _PinnedAdapter:
        if ca_file not in self._adapters:
            self._adapters[ca_file] = _PinnedAdapter(self, ca_file)
        return self._adapters[ca_file]

    def close(self) -> None:
        for adapter in self._adapters.values():
            adapter.close()

    def _check(self, url: str) -> None:
        """The refusal everybody gets; `dial` asks once more, about what is really connected to."""
        problem = url_problem(url, self._rules, self._setting)
        if problem:
            raise self._refusal(url, problem)

    def _rule(self, scheme: str, host: str, port: int) -> HostRule:
        rule = rule_for(self._rules, scheme, host, port)
        if rule is None:
            raise self._refusal(f"{scheme}://{bracketed(host)}:{port}", not_listed(host, port, self._setting))
        return rule

    def dial(self, scheme: str, host: str, port: int) -> socket.socket:
        """A connection to a checked address of `host`. Raises the refusal, or OSError when none answers."""
        rule = self._rule(scheme, host, port)
        if self.proxy is not None:
            return self._dial_through(self.proxy, scheme, host, port, rule)
        addresses = self._checked_addresses(host, port, rule)
        return self._connected_to_any(addresses)

    def _dial_through(self, proxy: Proxy, scheme: str, host: str, port: int, rule: HostRule) -> socket.socket:
        """A name is looked up by the proxy; an address is checked as ever."""
        problem = literal_address_problem(host, rule)
        if problem:
            raise self._refusal(host, Told(_("%(host)s is %(what)s"), {"host": host, "what": Told(problem)}))
        try:
            sock = self._connected_to_any(_addresses(proxy.host, proxy.port))
        except OSError as error:
            why = verbatim(error.strerror or type(error).__name__)
            text = _("the proxy %(proxy)s can't be reached: %(why)s (RELEASE_PACKAGE_PROXY)")
            raise ProxyTrouble(Told(text, {"proxy": str(proxy), "why": why})) from error
        if scheme == "https":
            try:
                proxy.open_tunnel(sock, host, port)
            except BaseException:
                sock.close()
                raise
        return sock

    def _connected_to_any(self, addresses: Sequence[Address]) -> socket.socket:
        self._cutoff.check()
        problem: OSError = ConnectionRefusedError()
        for family, address in addresses[:_MOST_ADDRESSES]:
            try:
                return self._connected(family, address)
            except OSError as error:
                problem = error
        raise problem

    def _checked_addresses(self, host: str, port: int, rule: HostRule) -> list[Address]:
        found = _addresses(host, port)
        for _family, address in found:
            problem = address_problem(str(address[0]), rule)
            if problem:
                facts: Facts = {"host": host, "address": str(address[0]), "what": Told(problem)}
                raise self._refusal(host, Told(_("%(host)s is %(address)s, %(what)s"), facts))
        return found

    def _connected(self, family: socket.AddressFamily, address: object) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connect(sock, address)
            self._cutoff.watch(sock)
            return sock
        except BaseException:
            sock.close()
            raise

    def _connect(self, sock: socket.socket, address: object) -> None:
        """Like `sock.connect`, in small steps: shutting a socket does not end its waiting for an answer."""
        sock.setblocking(False)
        status = sock.connect_ex(address)  # type: ignore[arg-type]
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        deadline = time.monotonic() + CONNECT_SECONDS
        while status in (errno.EINPROGRESS, errno.EAGAIN):
            self._cutoff.check()
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            if poll.poll(_POLL_MILLISECONDS):
                status = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise OSError(status, os.strerror(status))
        sock.settimeout(READ_SECONDS)


def _addresses(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [(family, address) for family, _, _, _, address in found]


class _PinnedAdapter(HTTPAdapter):
    def __init__(self, client: PinnedClient, ca_file: str = "") -> None:
        """ca_file: the one authority; '' for the system's."""
        self._client = client
        self._ca_file = ca_file
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: object) -> None:
        # The system's certificate authorities, a company's own among them; requests adds certifi's.
        context = ssl.create_default_context(cafile=self._ca_file or None)
        super().init_poolmanager(connections, maxsize, block, ssl_context=context, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self._client)

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        """A proxy is told the whole URL where it reads the request itself; there are no other proxies here."""
        if self._client.proxy is not None and (request.url or "").startswith("http:"):
            whole: str = urldefragauth(request.url or "")
            return whole
        return super().request_url(request, {})


def _pool_classes(client: PinnedClient) -> dict[str, type[HTTPConnectionPool]]:
    class PinnedConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return client.dial("http", _unbracketed(self.host), self.port or DEFAULT_PORTS["http"])

    class PinnedTLSConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return client.dial("https", _unbracketed(self.host), self.port or DEFAULT_PORTS["https"])

    class PinnedPool(HTTPConnectionPool):
        ConnectionCls = PinnedConnection

    class PinnedTLSPool(HTTPSConnectionPool):
        ConnectionCls = PinnedTLSConnection

    return {"http": PinnedPool, "https": PinnedTLSPool}


def _unbracketed(host: str) -> str:
    return host.removeprefix("[").removesuffix("]")
