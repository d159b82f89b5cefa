"""What may keep the system from starting or working, each with what to do about it. `doctor` shows it, `check --deploy` too."""

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
from django.db.models.functions import Now

from deploys.models import Worker
from deploys.operations.database_trouble import DatabaseTrouble, database_trouble
from deploys.packages import sources
from inventory.database.outage import has_no_connection_left
from inventory.models import Delivery, Node, TransportKind
from inventory.nodes.transports.login_keys import fault_of_certificate
from inventory.security.redaction import redact_url
from releasesite import env_file, schema_versions
from releasesite.api.probes import SEEN_WITHIN, has_worker
from releasesite.demo import ports
from releasesite.embedded_postgres import programs
from releasesite.site_files import COMMAND

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
    number: int = 0

    @property
    def id(self) -> str:
        """'' when all is well."""
        return (
            ""
            if self.verdict is Verdict.GOOD
            else f"release.{'E' if self.verdict is Verdict.BAD else 'W'}{self.number:03}"
        )


def good(said: str) -> Finding:
    return Finding(verdict=Verdict.GOOD, said=said)


def note(said: str, advice: str) -> Finding:
    return Finding(verdict=Verdict.NOTE, said=said, advice=advice)


def bad(said: str, advice: str) -> Finding:
    return Finding(verdict=Verdict.BAD, said=said, advice=advice)


def python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return bad(f"Python {version} is too old.", "Install Python 3.11 or newer: make setup PYTHON=/path/to/python3")
    return good(f"Python {version}")


def data_folder() -> Finding:
    folder: Path = settings.DATA_DIR
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return good(f"Data folder {folder} can be written to")
    except OSError as error:
        return bad(f"Data folder {folder} cannot be written to: {error.strerror}.", "Fix it, or set RELEASE_DATA_DIR.")


def room() -> Finding:
    folder = next(path for path in (settings.DATA_DIR, *settings.DATA_DIR.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    said = f"{free / 1024**3:.1f} GiB free for packages and data"
    if free < LITTLE_ROOM_BYTES:
        return note(said, "That is little: make room, or set RELEASE_DATA_DIR to a larger disk.")
    return good(said)


def env_file_lines() -> Iterator[Finding]:
    path = env_file.chosen()
    try:
        text = path.read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError):
        return  # whoever started us has read it (environment.read)
    if names := env_file.passed_over(text):
        said = f"{path} has lines that are no NAME=value, and are passed over: {', '.join(names)[:200]}"
        yield note(said, "Write NAME=value alone: no `export`, no commands.")
    elif path and text:
        yield good(f"The configuration is in {path}")


def secret_key() -> Iterator[Finding]:
    if not _is_embedded() and not os.environ.get("SECRET_KEY", "").strip():
        yield note(
            f"SECRET_KEY is not set: one was generated in {settings.DATA_DIR}, for this host alone.",
            "Set the same one on every host: sessions and the queue's messages are signed with it.",
        )


def database() -> Finding:
    name = _database_name()
    if _is_embedded() and (problem := programs.why_not(settings.DATA_DIR)):
        return bad(f"There is no database: DATABASE_URL {problem}.", "Set DATABASE_URL.")
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


def migrations() -> Finding:
    missing, unknown = schema_versions.missing(), schema_versions.unknown()
    if missing:
        return bad(f"The database lacks {len(missing)} migrations.", f"Run: {COMMAND} migrate")
    if unknown:
        return note(
            f"The database's schema is newer than this version: it has {len(unknown)} more migrations, up to {unknown[-1]}.",
            "Go on to the version that made it, or ask that one whether this one may run over it: can_go_back.",
        )
    return good("The database has every migration")


def troubled_database() -> Iterator[Finding]:
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


def ssh_key() -> Finding:
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
        text = str(fault)
        return bad(f"{text[0].upper()}{text[1:]}.", "Without it only servers that know the key itself let us log in.")
    return good(f"SSH key {path} can be read")


def pulling_nodes() -> Iterator[Finding]:
    nodes = Node.objects.listed().filter(delivery=Delivery.PULL).count()
    if nodes and not settings.PUBLIC_URL:
        yield bad(
            f"{nodes} nodes fetch their packages themselves, but where from is not known.",
            "Set RELEASE_PUBLIC_URL to the address that nodes reach the web by, or set them to `delivery: push`.",
        )


def worker() -> Finding:
    others = Worker.objects.filter(seen_at__gt=Now() - SEEN_WITHIN).exclude(version=settings.VERSION).order_by("host")
    if others:
        said = ", ".join(f"{each.host} ({each.version or 'before 0.2.0'})" for each in others)
        return note(
            f"A worker has another version than this one, {settings.VERSION}: {said}.", "Upgrade that host as well."
        )
    if has_worker():
        return good("A worker is alive")
    if has_worker(is_paused=True):
        return note(
            "Every worker is paused: operations are accepted and wait.",
            f"After a restore: {COMMAND} after_restore --resume. After worker --paused: SIGUSR1 to its main process.",
        )
    return note("No worker is alive: operations are accepted and wait.", f"Run: {COMMAND} worker")


def package_hosts() -> Finding:
    if settings.PACKAGE_HOSTS:
        return good(f"Packages may come from {', '.join(settings.PACKAGE_HOSTS)}")
    return note(
        "No package host is allowed: every download is refused.",
        "Set RELEASE_PACKAGE_HOSTS=packages.example.com (make run allows its own).",
    )


def package_sources() -> Iterator[Finding]:
    if settings.SOURCES_FILE:
        try:
            entries = sources.read(settings.SOURCES_FILE).entries
        except sources.SourcesError as error:
            yield bad(f"{error}.", "Workers do not start with it, and those that run go on with what it said before.")
        else:
            yield good(f"Package sources: {len(entries)} entries in {settings.SOURCES_FILE}")
    names = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
    unused = [name for name in names if os.environ.get(name) or os.environ.get(name.lower())]
    if unused and settings.PACKAGE_PROXY is None:
        yield note(
            f"{' and '.join(unused)} set, but not used for packages.",
            "If packages have to come through a proxy, set RELEASE_PACKAGE_PROXY=http://proxy.example.com:3128.",
        )


def port() -> Finding:
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
