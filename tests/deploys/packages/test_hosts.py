"""Packages come from allowed hosts only, and the address that was checked is the one connected to (row 24)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from deploys.packages import download, fetch
from deploys.packages.errors import PackageError
from deploys.packages.hosts import HostRule, address_problem, rule_for
from deploys.packages.pinned_http import PinnedClient
from tests.support.package_builder import package, sha256
from tests.support.package_host import Behaviour, PackageHost

CONTENT = package({"a": "b"})


class Bystander:
    """Somebody else's service: it counts who connects to it and what they say."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.connections = 0
        self.bytes_received = 0
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection:
                    connection.settimeout(2)
                    self.bytes_received += len(connection.recv(65536))

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def bystander() -> Iterator[Bystander]:
    bystander = Bystander()
    yield bystander
    bystander.stop()
    assert (bystander.connections, bystander.bytes_received) == (0, 0)


@pytest.fixture(autouse=True)
def in_the_settings(tmp_path: Path, settings: Settings, package_host: PackageHost) -> None:
    settings.DATA_DIR = tmp_path
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    settings.PACKAGE_MAX_BYTES = 1024**2


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PATIENCE", download.Patience(deadline_seconds=10, first_pause_seconds=0.01))


def refusal(url: str) -> PackageError:
    with pytest.raises(PackageError) as raised:
        fetch.fetch(url)
    return raised.value


def test_it_refuses_every_download_when_no_host_is_allowed(settings: Settings, package_host: PackageHost) -> None:
    settings.PACKAGE_HOSTS = ()
    error = refusal(package_host.add("p.tar.gz", CONTENT))
    assert error.code == "package_host_not_allowed"
    assert f"{package_host.netloc} is not in RELEASE_PACKAGE_HOSTS" in str(error)
    assert package_host.requests == []


@pytest.mark.parametrize(
    "form",
    [
        "http://127.0.0.1:{port}/p",
        "http://localhost:{port}/p",
        "http://127.1:{port}/p",
        "http://2130706433:{port}/p",
        "http://0x7f000001:{port}/p",
        "http://0177.0.0.1:{port}/p",
        "http://[::ffff:127.0.0.1]:{port}/p",
        "http://0:{port}/p",
        "http://{allowed}@127.0.0.1:{port}/p",
        "http://{allowed}#@127.0.0.1:{port}/p",
        "http://127.0.0.1:{port}\\@{allowed}/p",
        "http://127.0.0.1:{port}/{allowed}",
        "http://127.0.0.1:{port}?@{allowed}/",
        "http://127.0.0.1.:{port}/p",
        "http://127.0.0.1 :{port}/p",
        "http://１２７.0.0.1:{port}/p",
        "https://127.0.0.1:{port}/p",
    ],
)
def test_it_sends_no_byte_to_a_host_that_is_not_allowed(
    form: str, bystander: Bystander, package_host: PackageHost
) -> None:
    error = refusal(form.format(port=bystander.port, allowed=package_host.netloc))
    assert error.code in ("package_host_not_allowed", "package_unreachable")


@pytest.mark.parametrize(
    "form",
    [
        "http://127.0.0.1:{port}/p",
        "//127.0.0.1:{port}/p",
        "http://{allowed}@127.0.0.1:{port}/p",
        "http://127.0.0.1:{port}\\@{allowed}/p",
        "http://localhost:{port}/p",
        "http://[::ffff:7f00:1]:{port}/p",
        "https://127.0.0.1:{port}/p",
        "ftp://127.0.0.1:{port}/p",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/_x",
        "http://[bad/",
        "http://127.0.0.1:99999/",
    ],
)
def test_it_follows_no_redirect_to_a_host_that_is_not_allowed(
    form: str, bystander: Bystander, package_host: PackageHost
) -> None:
    target = form.format(port=bystander.port, allowed=package_host.netloc)
    error = refusal(package_host.behave("p", Behaviour(redirect_to=target)))
    assert error.code in ("package_host_not_allowed", "package_unreachable")
    assert len(package_host.requests) == 1


def test_it_says_where_a_redirect_leads(bystander: Bystander, package_host: PackageHost) -> None:
    target = f"http://u:s3cret@127.0.0.1:{bystander.port}/x?s3cret"
    error = refusal(package_host.behave("p", Behaviour(redirect_to=target)))
    assert error.code == "package_host_not_allowed"
    assert f"{package_host.url('p')} redirects elsewhere" in str(error)
    assert f"http://127.0.0.1:{bystander.port}/x" in str(error)
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "p.tar.gz", "", "http://", "//h/p"]
)
def test_it_refuses_what_is_no_http_url(url: str) -> None:
    assert refusal(url).code in ("package_host_not_allowed", "package_unreachable")


def test_it_follows_redirects_among_allowed_hosts(package_host: PackageHost) -> None:
    package_host.add("p.tar.gz", CONTENT)
    package_host.behave("two", Behaviour(redirect_to="/p.tar.gz", status=307))
    url = package_host.behave("one", Behaviour(redirect_to="two"))
    assert fetch.fetch(url).sha256 == sha256(CONTENT)


def test_it_follows_a_bounded_number_of_redirects(package_host: PackageHost) -> None:
    error = refusal(package_host.behave("p", Behaviour(redirect_to="/p")))
    assert error.code == "package_unreachable"
    assert "redirects more than 5 times" in str(error)
    assert len(package_host.requests) == 6


def test_it_shows_a_urls_password_to_its_own_host_only(package_host: PackageHost, settings: Settings) -> None:
    package_host.add("p.tar.gz", CONTENT)
    settings.PACKAGE_HOSTS = (package_host.netloc, f"localhost:{package_host.port}")
    package_host.behave("same", Behaviour(redirect_to="/other"))
    package_host.behave("other", Behaviour(redirect_to=f"http://localhost:{package_host.port}/p.tar.gz"))
    fetch.fetch(package_host.url("same").replace("//", "//user:s3cret@"))
    assert [("Authorization" in request.headers) for request in package_host.requests] == [True, True, False]


def test_it_uses_no_proxy_and_no_netrc(
    package_host: PackageHost, bystander: Bystander, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{bystander.port}")
    fetch.fetch(package_host.add("p.tar.gz", CONTENT))
    assert "Authorization" not in package_host.requests[0].headers


# Names and their addresses.


@contextmanager
def names(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[list[str]]]) -> Iterator[list[str]]:
    """A name server: each look-up of a name gives the next of its answers, the last one for ever."""
    real = socket.getaddrinfo
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *arguments: int, **options: int) -> list[object]:
        if host not in answers:
            return list(real(host, port, *arguments, **options))
        asked.append(host)
        now = answers[host].pop(0) if len(answers[host]) > 1 else answers[host][0]
        return [found for address in now for found in real(address, port, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
        "100.100.100.200",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
    ],
)
def test_it_refuses_an_allowed_name_with_an_address_no_package_comes_from(
    address: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, bystander: Bystander
) -> None:
    settings.PACKAGE_HOSTS = (f"packages.example:{bystander.port}",)
    with names(monkeypatch, {"packages.example": [["10.0.0.1", address]]}):
        error = refusal(f"http://packages.example:{bystander.port}/p")
    assert error.code == "package_host_not_allowed"
    assert "packages.example is " in str(error)


def test_it_looks_a_name_up_once_so_that_rebinding_gains_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, bystander: Bystander
) -> None:
    """First the allowed address, which nobody answers at, then a forbidden one."""
    settings.PACKAGE_HOSTS = (f"packages.example:{bystander.port}",)
    monkeypatch.setattr(fetch, "PATIENCE", download.Patience(first_pause_seconds=0.01, deadline_seconds=3))
    monkeypatch.setattr(PinnedClient, "_connect", lambda self, sock, address: _refuse(address))
    with names(monkeypatch, {"packages.example": [["10.255.255.1"], ["127.0.0.1"]]}) as asked:
        error = refusal(f"http://packages.example:{bystander.port}/p")
    assert error.code == "package_host_not_allowed"
    assert len(asked) == 2
    assert _connected_to == ["10.255.255.1"]


_connected_to: list[str] = []


def _refuse(address: tuple[str, int]) -> None:
    _connected_to.append(address[0])
    raise ConnectionRefusedError(111, "Connection refused")


def test_it_connects_to_the_address_it_checked_and_names_the_host(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, package_host: PackageHost
) -> None:
    """The rule here is made to let loopback pass for this name, as if it were an internal address."""
    monkeypatch.setattr(HostRule, "is_loopback", True)
    name = f"packages.example:{package_host.port}"
    settings.PACKAGE_HOSTS = (name,)
    package_host.add("p.tar.gz", CONTENT)
    with names(monkeypatch, {"packages.example": [["127.0.0.1"], ["169.254.169.254"]]}) as asked:
        fetch.fetch(f"http://{name}/p.tar.gz")
    assert asked == ["packages.example"]
    assert package_host.requests[0].headers["Host"] == name


def test_it_tries_a_names_next_address_when_one_refuses(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, package_host: PackageHost
) -> None:
    monkeypatch.setattr(HostRule, "is_loopback", True)
    name = f"packages.example:{package_host.port}"
    settings.PACKAGE_HOSTS = (name,)
    package_host.add("p.tar.gz", CONTENT)
    with names(monkeypatch, {"packages.example": [["127.0.0.2", "127.0.0.1"]]}):
        assert fetch.fetch(f"http://{name}/p.tar.gz").sha256 == sha256(CONTENT)


@pytest.mark.parametrize("address", ["10.1.2.3", "172.16.0.1", "192.168.1.10", "fd12:3456::1", "100.64.0.1", "8.8.8.8"])
def test_an_allowed_name_may_have_a_private_or_public_address(address: str) -> None:
    assert address_problem(address, HostRule.parse("packages.example")) == ""


# The entries of RELEASE_PACKAGE_HOSTS.


@pytest.mark.parametrize(
    ("entry", "scheme", "host", "port", "is_allowed"),
    [
        ("packages.example", "https", "packages.example", 443, True),
        ("packages.example", "http", "packages.example", 80, True),
        ("Packages.Example", "https", "packages.EXAMPLE", 443, True),
        ("packages.example", "https", "packages.example", 8443, False),
        ("packages.example", "https", "packages.example", 80, False),
        ("packages.example:8443", "https", "packages.example", 8443, True),
        ("packages.example:8443", "https", "packages.example", 443, False),
        ("packages.example", "https", "evil.packages.example", 443, False),
        ("packages.example", "https", "packages.example.evil", 443, False),
        ("packages.example", "https", "packages.example.", 443, False),
        ("example", "https", "packages.example", 443, False),
        ("bücher.example", "https", "xn--bcher-kva.example", 443, True),
        ("[::1]:8000", "http", "::1", 8000, True),
        ("127.0.0.1", "http", "127.1", 80, False),
    ],
)
def test_an_entry_allows_one_host_at_one_port(entry: str, scheme: str, host: str, port: int, is_allowed: bool) -> None:
    assert (rule_for([HostRule.parse(entry)], scheme, host, port) is not None) == is_allowed


@pytest.mark.parametrize("entry", ["", "http://h", "h/p", "u@h", "h:0", "h:99999", "h:x", "[::1", "a b", "*"])
def test_an_entry_that_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"not a host|Port|port|IPv6"):
        HostRule.parse(entry)


@given(st.ip_addresses())
def test_every_address_has_an_answer(address: object) -> None:
    assert isinstance(address_problem(str(address), HostRule.parse("packages.example")), str)
