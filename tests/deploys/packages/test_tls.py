"""HTTPS: the certificate is the name's, whatever address was connected to."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from deploys.packages import download, fetch
from deploys.packages.errors import PackageError
from tests.support.package_builder import package, sha256
from tests.support.package_host import Behaviour, PackageHost
from tests.support.tls import self_signed

CONTENT = package({"a": "b"})


class _Handler(BaseHTTPRequestHandler):
    redirect_to = ""

    def do_GET(self) -> None:
        if self.redirect_to:
            self.send_response(302)
            self.send_header("Location", self.redirect_to)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        return


Serve = Callable[..., int]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts an HTTPS host whose certificate is for these names; gives its port. The system trusts its maker."""
    servers: list[HTTPServer] = []

    def start(*names: str, is_trusted: bool = True, age_days: int = 0, redirect_to: str = "") -> int:
        certificate = self_signed(names, tmp_path / f"{len(servers)}.pem", age_days)
        if is_trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        server = HTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"redirect_to": redirect_to}))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.sni_callback = lambda _, name, __: seen_names.append(name)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


seen_names: list[str | None] = []


@pytest.fixture(autouse=True)
def in_the_settings(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr(fetch, "PATIENCE", download.Patience(deadline_seconds=10, first_pause_seconds=0.01))
    seen_names.clear()


def refusal(url: str) -> PackageError:
    with pytest.raises(PackageError) as raised:
        fetch.fetch(url)
    return raised.value


def test_it_takes_a_package_over_https_and_names_the_host(serve: Serve, settings: Settings) -> None:
    port = serve("localhost")
    settings.PACKAGE_HOSTS = (f"localhost:{port}",)
    assert fetch.fetch(f"https://localhost:{port}/p").sha256 == sha256(CONTENT)
    assert seen_names == ["localhost"]


def test_it_refuses_a_certificate_for_another_name(serve: Serve, settings: Settings) -> None:
    port = serve("packages.example")
    settings.PACKAGE_HOSTS = (f"localhost:{port}",)
    error = refusal(f"https://localhost:{port}/p")
    assert error.code == "package_unreachable"
    assert "certificate is not valid" in str(error)
    assert "localhost" in str(error)


@pytest.mark.parametrize("how", [{"is_trusted": False}, {"age_days": 30}])
def test_it_refuses_a_certificate_that_is_strange_or_expired(
    how: dict[str, int], serve: Serve, settings: Settings
) -> None:
    port = serve("localhost", **how)
    settings.PACKAGE_HOSTS = (f"localhost:{port}",)
    error = refusal(f"https://localhost:{port}/p")
    assert error.code == "package_unreachable"
    assert "certificate is not valid" in str(error)
    assert seen_names == ["localhost"], "tried once: it will not get better"


def test_it_says_that_a_host_speaks_no_tls(settings: Settings, package_host: PackageHost) -> None:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    error = refusal(package_host.add("p", CONTENT).replace("http:", "https:"))
    assert error.code == "package_unreachable"
    assert "TLS failed" in str(error)


def test_it_never_goes_from_https_to_http(serve: Serve, settings: Settings, package_host: PackageHost) -> None:
    port = serve("localhost", redirect_to=package_host.add("p", CONTENT))
    settings.PACKAGE_HOSTS = (f"localhost:{port}", package_host.netloc)
    error = refusal(f"https://localhost:{port}/p")
    assert error.code == "package_host_not_allowed"
    assert "from https to http" in str(error)
    assert package_host.requests == []


def test_it_goes_from_http_to_https(serve: Serve, settings: Settings, package_host: PackageHost) -> None:
    port = serve("localhost")
    settings.PACKAGE_HOSTS = (f"localhost:{port}", package_host.netloc)
    url = package_host.behave("p", Behaviour(redirect_to=f"https://localhost:{port}/p"))
    assert fetch.fetch(url).sha256 == sha256(CONTENT)
