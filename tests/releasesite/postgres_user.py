"""A process that uses the embedded server: `python -m tests.releasesite.postgres_user FOLDER MODE`.

It says `ready` once it has queried, then waits for its input to end, and exits in the way that MODE says.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psycopg

from releasesite.embedded_postgres.server import DATABASE, PORT, SUPERUSER, server_in


def query(folder: Path) -> int:
    host = str(server_in(folder).use())
    with psycopg.connect(host=host, port=PORT, user=SUPERUSER, dbname=DATABASE, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")
        connection.execute("CREATE TABLE IF NOT EXISTS seen (n serial)")
        connection.execute("INSERT INTO seen DEFAULT VALUES")
        row = connection.execute("SELECT count(*) FROM seen").fetchone()
        assert row is not None
        return int(row[0])


def wait_for_the_end_of_input() -> None:
    sys.stdin.read()


def main(folder: Path, mode: str) -> None:
    seen = query(folder)
    if mode == "fork":
        print(f"ready {seen} {_forked_child(folder)}", flush=True)
        return
    print(f"ready {seen}", flush=True)
    wait_for_the_end_of_input()


def _forked_child(folder: Path) -> int:
    """It outlives its parent, then leaves by the exit hooks that it has inherited."""
    pid = os.fork()
    if pid:
        return pid
    wait_for_the_end_of_input()
    print(query(folder), flush=True)
    sys.exit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
