"""nginx and Caddy with the sites that packaging/ has, in front of a program that tells what reached it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import urllib3
from django.conf import settings

from tests.support.ports import accepts, free_port
from tests.support.worker import wait_for

PACKAGING = Path(settings.BASE_DIR) / "packaging"
SITE = "releases.example.com"
Proxy = Callable[[Path, int, int, int], AbstractContextManager[None]]
pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


class Tells(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        said = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tells)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@contextmanager
def nginx(folder: Path, web: int, plain: int, tls: int) -> Iterator[None]:
    subject = ("-subj", f"/CN={SITE}", "-keyout", "privkey.pem", "-out", "fullchain.pem")
    subprocess.run(
        ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *subject),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    site = (PACKAGING / "nginx" / "release.conf").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{web}")
    site = site.replace("listen [::]:80;", "").replace("listen [::]:443 ssl http2;", "")
    site = site.replace("listen 80;", f"listen 127.0.0.1:{plain};").replace("listen 443", f"listen 127.0.0.1:{tls}")
    (folder / "site.conf").write_text(site.replace("/etc/ssl/release", str(folder)))
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; include site.conf; }}\n"
    )
    with serving(("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")), folder, tls):
        yield


@contextmanager
def caddy(folder: Path, web: int, plain: int, tls: int) -> Iterator[None]:
    site = (PACKAGING / "caddy" / "Caddyfile").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{web}")
    ours = f"{{\n\tadmin off\n\thttp_port {plain}\n\thttps_port {tls}\n\tlocal_certs\n\tskip_install_trust\n}}\n"
    (folder / "Caddyfile").write_text(ours + site)
    with serving(("caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"), folder, tls):
        yield


@contextmanager
def serving(argv: tuple[str, ...], folder: Path, port: int) -> Iterator[None]:
    environment = {"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": str(folder)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: accepts(port), what=argv[0], log=folder / "log")
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_what_a_client_says_of_itself_is_replaced_and_plain_http_sent_to_tls(
    proxy: Proxy, web: int, tmp_path: Path
) -> None:
    plain, tls = free_port(), free_port()
    with proxy(tmp_path, web, plain, tls):
        forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}
        reached = call(tls, "GET", headers=forged).json()
        moved = requests.get(f"http://127.0.0.1:{plain}/x", headers={"Host": SITE}, allow_redirects=False)

    assert reached["x-forwarded-for"] == "127.0.0.1"
    assert reached["x-forwarded-proto"] == "https"
    assert reached["host"].partition(":")[0] == SITE
    assert moved.headers["Location"].startswith(f"https://{SITE}")


def test_nginx_refuses_a_body_that_is_too_large_in_json(web: int, tmp_path: Path) -> None:
    plain, tls = free_port(), free_port()
    with nginx(tmp_path, web, plain, tls):
        refused = call(tls, "PUT", data=b"x" * 9_500_000)

    assert refused.status_code == 413
    assert refused.json()["errors"][0]["code"] == "request_too_large"


class ToLoopback(requests.adapters.HTTPAdapter):
    """As a client that resolves the site's name to this machine would speak with it."""

    def init_poolmanager(self, *args: object, **options: object) -> None:
        self.poolmanager = urllib3.PoolManager(assert_hostname=False, server_hostname=SITE, cert_reqs="CERT_NONE")


def call(port: int, method: str, *, data: bytes = b"", headers: Mapping[str, str] | None = None) -> requests.Response:
    session = requests.Session()
    session.mount("https://", ToLoopback())
    return session.request(
        method, f"https://127.0.0.1:{port}/", headers={"Host": SITE, **(headers or {})}, data=data, verify=False
    )
