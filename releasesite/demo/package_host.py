"""The demo's package host: serves one folder on a loopback port. Standard library only.

`python -m releasesite.demo.package_host FOLDER PORT`; one line a request on stdout.
"""

from __future__ import annotations

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        print(f"{self.log_date_time_string()} {self.address_string()} {format % args}", flush=True)


def main(folder: str, port: str) -> None:
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", int(port)), partial(Handler, directory=folder)).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
