"""What may keep the system from starting or working, each with what to do about it. `manage.py doctor` shows it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import asyncssh
import django.db
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from deploys.operations.database_trouble import DatabaseTrouble, database_trouble
from inventory.database.outage import has_no_connection_left
from inventory.models import Delivery, Node, TransportKind
from inventory.nodes.transports.login_keys import fault_of_certificate
from inventory.security.redaction import redact_url
from releasesite.api.probes import has_worker
from releasesite.demo import ports

OLDEST_PYTHON, OLDEST_POSTGRES = (3, 11), 140_000
LITTLE_ROOM_BYTES = 2 * 1024**3
DEFAULT_PORT = "8000"
CONNECTIONS_ADVICE = "Raise max_connections, or lower RELEASE_WORKERS (docs/scaling.md)."


class Verdict(Enum):
    GOOD = "ok"
    NOTE = "note"
    BAD = "BAD"


@dataclass(frozen=True, kw_only=True)
class Finding:
    verdict: Verdict
    said: str
    advice: str = ""


def examine() -> Iterator[Finding]:
    """In the order in which things are needed; what needs the database is left out when it is away."""
    yield _python()
    yield _data_folder()
    yield _room()
    database = _database()
    yield database
    if database.verdict is not Verdict.BAD:
        migrated = _migrations()
        yield migrated
        if migrated.verdict is not Verdict.BAD:
            yield _ssh_key()
            yield from _database_trouble()
            yield from _pulling_nodes()
            yield _worker()
    yield _package_hosts()
    yield _port()


def good(said: str) -> Finding:
    return Finding(verdict=Verdict.GOOD, said=said)


def note(said: str, advice: str) -> Finding:
    return Finding(verdict=Verdict.NOTE, said=said, advice=advice)


def bad(said: str, advice: str) -> Finding:
    return Finding(verdict=Verdict.BAD, said=said, advice=advice)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return bad(f"Python {version} is too old.", "Install Python 3.11 or newer: make setup PYTHON=/path/to/python3")
    return good(f"Python {version}")


def _data_folder() -> Finding:
    folder: Path = settings.DATA_DIR
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return good(f"Data folder {folder} can be written to")
    except OSError as error:
        return bad(f"Data folder {folder} cannot be written to: {error.strerror}.", "Fix it, or set RELEASE_DATA_DIR.")


def _room() -> Finding:
    folder = next(path for path in (settings.DATA_DIR, *settings.DATA_DIR.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    said = f"{free / 1024**3:.1f} GiB free for packages and data"
    if free < LITTLE_ROOM_BYTES:
        return note(said, "That is little: make room, or set RELEASE_DATA_DIR to a larger disk.")
    return good(said)


def _database() -> Finding:
    name = _database_name()
    try:
        connection.ensure_connection()
    except (django.db.Error, ValueError) as error:
        first_line = str(error).strip().split("\n")[0]
        if has_no_connection_left(error):
            return bad(f"{name} has no connection left: {first_line}", CONNECTIONS_ADVICE)
        return bad(f"{name} cannot be reached: {first_line}", _database_advice())
    version = connection.cursor().connection.info.server_version
    if version < OLDEST_POSTGRES:
        return bad(f"{name} is version {version // 10_000}.", "Use PostgreSQL 14 or newer.")
    return good(f"{name} answers (version {version // 10_000})")


def _database_name() -> str:
    if _is_embedded():
        return f"The embedded PostgreSQL in {settings.DATA_DIR / 'postgres'}"
    return f"PostgreSQL at {redact_url(os.environ.get('DATABASE_URL', ''))} (DATABASE_URL)"


def _database_advice() -> str:
    if _is_embedded():
        return f"Read {settings.DATA_DIR / 'postgres' / 'server.log'}, or set DATABASE_URL to a server of your own."
    return "Start it, correct DATABASE_URL, or unset that to use the embedded one."


def _is_embedded() -> bool:
    engine: str = settings.DATABASES["default"]["ENGINE"]
    return engine == "releasesite.embedded_postgres"


def _migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return bad(f"The database lacks {len(missing)} migrations.", "Run: python manage.py migrate")
    return good("The database has every migration")


def _database_trouble() -> Iterator[Finding]:
    match database_trouble():
        case DatabaseTrouble.READ_ONLY:
            advice = "Point DATABASE_URL at the primary, or set default_transaction_read_only to off."
            yield bad("The database is read-only: it can be looked at, and nothing starts.", advice)
        case DatabaseTrouble.CONNECTIONS:
            said = "The database is short of connections: workers were refused one within the last minute."
            yield bad(said, CONNECTIONS_ADVICE)
        case DatabaseTrouble.SLOW:
            said = "The database is slow: within the last minute a worker waited seconds for a small write."
            yield note(said, "Look at its load, its disk and the network to it.")


def _ssh_key() -> Finding:
    nodes = Node.objects.listed().filter(transport=TransportKind.SSH).count()
    if settings.SSH_KEY_FILE:
        return _key_file(settings.SSH_KEY_FILE)
    if os.environ.get("SSH_AUTH_SOCK"):
        return good("SSH keys come from the agent")
    if nodes:
        return bad(f"{nodes} SSH nodes, but no key for them.", "Set RELEASE_SSH_KEY_FILE, or start an ssh agent.")
    return note("No SSH key", "Before you add SSH nodes: set RELEASE_SSH_KEY_FILE, or start an ssh agent.")


def _key_file(path: str) -> Finding:
    try:
        asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        advice = "Set RELEASE_SSH_KEY_FILE to a private key without a passphrase, or use an ssh agent."
        return bad(f"SSH key {path} cannot be used: {error}.", advice)
    if fault := fault_of_certificate(path):
        return bad(f"{fault[0].upper()}{fault[1:]}.", "Without it only servers that know the key itself let us log in.")
    return good(f"SSH key {path} can be read")


def _pulling_nodes() -> Iterator[Finding]:
    nodes = Node.objects.listed().filter(delivery=Delivery.PULL).count()
    if nodes and not settings.PUBLIC_URL:
        yield bad(
            f"{nodes} nodes fetch their packages themselves, but where from is not known.",
            "Set RELEASE_PUBLIC_URL to the address that nodes reach the web by, or set them to `delivery: push`.",
        )


def _worker() -> Finding:
    if has_worker():
        return good("A worker is alive")
    if has_worker(is_paused=True):
        return note(
            "Every worker is paused: operations are accepted and wait.",
            "Send its main process SIGUSR1, or start it without --paused.",
        )
    return note("No worker is alive: operations are accepted and wait.", "Run: python manage.py worker")


def _package_hosts() -> Finding:
    if settings.PACKAGE_HOSTS:
        return good(f"Packages may come from {', '.join(settings.PACKAGE_HOSTS)}")
    return note(
        "No package host is allowed: every download is refused.",
        "Set RELEASE_PACKAGE_HOSTS=packages.example.com (make run allows its own).",
    )


def _port() -> Finding:
    text = os.environ.get("PORT") or DEFAULT_PORT
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        return bad(f"PORT={text} is no port.", "Set PORT to a number from 1 to 65535.")
    port = int(text)
    if ports.is_free(port):
        return good(f"Port {port} is free")
    if _we_answer(port):
        return good(f"Port {port} is in use by this system's web process")
    return bad(
        f"Port {port} is taken by {ports.holder(port)}.",
        f"Stop that, or take another port: PORT={ports.free_port()} make run",
    )


def _we_answer(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            said = json.loads(answer.read(200))
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.keys() == {"status", "version"}
