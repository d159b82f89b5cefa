"""The demo's service: one small HTTP server that tells which version it is. Standard library only.

`GET /` answers JSON, or a page to browsers. `bin/restart.py` starts it in the release's folder. In
`$RELEASE_ROOT/run/`: service.lock, held while it lives, and demo.json, which tells whom to report to and when to leave.
"""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer

HERE = Path(__file__).resolve().parent
PORT = int(os.environ["RELEASE_PORT"])
MANIFEST = json.loads((HERE / "manifest.json").read_text())
COLOUR = MANIFEST["colour"]
ABOUT = {
    "service": MANIFEST["service"],
    "version": (HERE / "VERSION").read_text().strip(),
    "message": MANIFEST["message"],
    "instance": os.environ["RELEASE_INSTANCE"],
    "port": PORT,
    "pid": os.getpid(),
    "started_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
}
REPORT_EVERY_SECONDS = 15
STAY_SECONDS = 3
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{instance} {version}</title>
<body style="margin:0;min-height:100vh;display:grid;place-content:center;text-align:center;
font:1.25rem system-ui;color:#fff;background:{colour}">
<h1 style="font-size:4rem;margin:0">{version}</h1><p>{message}</p>
<p>{service} / {instance}, port {port}, pid {pid}, since {started_at}</p></body></html>
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/":
            self.answer(404, "text/plain; charset=utf-8", "there is only /\n")
        elif "text/html" in self.headers.get("Accept", ""):
            values = {key: html.escape(str(value)) for key, value in ABOUT.items()}
            self.answer(200, "text/html; charset=utf-8", PAGE.format(colour=html.escape(COLOUR), **values))
        else:
            self.answer(200, "application/json", json.dumps(ABOUT) + "\n")

    def answer(self, status: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Not HTTPServer's, which looks up the name of our own address: that can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", PORT


def main() -> None:
    server = Server(("127.0.0.1", PORT), Handler)
    config = read_config(Path(os.environ["RELEASE_ROOT"], "run", "demo.json"))
    if config:
        threading.Thread(target=report_for_ever, args=(config,), daemon=True).start()
        threading.Thread(target=leave_with_the_demo, args=(config,), daemon=True).start()
    print(f"{ABOUT['started_at']} {ABOUT['version']} listens on port {PORT}, pid {ABOUT['pid']}", flush=True)
    server.serve_forever()


def read_config(path: Path) -> dict[str, str]:
    """{"api", "token", "demo_lock"}; empty outside the demo."""
    try:
        config: dict[str, str] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return config


def report_for_ever(config: dict[str, str]) -> None:
    from http.client import HTTPException
    from urllib.request import ProxyHandler, Request, build_opener

    request = Request(  # noqa: S310  # our own API's address, from our own file
        f"{config['api']}/v1/instance/{ABOUT['instance']}/report",
        data=json.dumps({"version": ABOUT["version"], "status": "running", "health": "healthy"}).encode(),
        headers={"Authorization": f"Bearer {config['token']}", "Content-Type": "application/json"},
        method="POST",
    )
    opener = build_opener(ProxyHandler({}))
    while True:
        with contextlib.suppress(OSError, ValueError, HTTPException):  # nobody to report to is no failure of ours
            opener.open(request, timeout=3).close()
        time.sleep(REPORT_EVERY_SECONDS)


def leave_with_the_demo(config: dict[str, str]) -> None:
    """The demo holds its lock while it lives. However it dies, its services leave within seconds.

    Not before the restart that started this one is through: a worker that drains would take that for a failure.
    """
    time.sleep(STAY_SECONDS)
    while is_held(Path(config["demo_lock"])):
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def is_held(path: Path) -> bool:
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


if __name__ == "__main__":
    main()
