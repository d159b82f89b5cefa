"""`python3 -m releasesite.container_health web|worker`: a container's health check, cheap enough for every half minute.

Exit status 1 where a new start of this very container may help. Of a database that is away /readyz tells: no start
helps then.
"""

from __future__ import annotations

import os
import socket
import sys
import urllib.error
import urllib.request

import psycopg

from releasesite import env_file

SECONDS = 5
HEARTBEAT_SECONDS = 60
SEEN = "SELECT count(*) FROM deploys_worker WHERE host = %s AND seen_at > now() - make_interval(secs => %s)"


def web_is_healthy(port: int = 8000) -> bool:
    """It answers; with what is not asked, since a name that is not ours or a redirect is an answer too."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=SECONDS):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def worker_is_healthy() -> bool:
    """This host's supervisor has written its heartbeat."""
    env_file.load()
    try:
        with psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=SECONDS) as connection:
            row = connection.execute(SEEN, [socket.gethostname(), HEARTBEAT_SECONDS]).fetchone()
    except psycopg.Error:
        return True
    return row is not None and row[0] > 0


if __name__ == "__main__":
    sys.exit(0 if (worker_is_healthy() if sys.argv[1:] == ["worker"] else web_is_healthy()) else 1)
