"""Reads the environment and the file that adds to it (CONTRACT.md, "Environment"), and refuses all that is wrong with it at once.

An empty variable counts as one that is not set.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from environs import Env, EnvValidationError, ValidationError

from deploys.packages.hosts import HostRule
from deploys.packages.proxy import Proxy
from inventory.security.redaction import SHORTEST_SECRET
from releasesite import env_file, oidc_environment
from releasesite import environment_values as values
from releasesite.oidc_environment import OidcProvider
from releasesite.site_files import DEFAULT_DATA_DIR

ErrorMessages = Mapping[str, list[str]]  # what sealing an Env gives; its type allows for a single variable's too
HOST = re.compile(r"\.?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\]")
# Nothing that curl's or wget's configuration could take for more than a URL.
PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9_.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")
POSTGRESQL = "django.db.backends.postgresql"
DATABASE_PROBLEM = "must look like postgres://user:password@host:5432/name: PostgreSQL is the one engine"
LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """secret_key: '' when not given. database: Django's settings of it, or None for the embedded one."""

    data_dir: Path
    database: dict[str, Any] | None
    secret_key: str
    debug: bool
    allowed_hosts: list[str]
    csrf_trusted_origins: list[str]
    package_hosts: tuple[str, ...]
    package_proxy: Proxy | None
    sources_file: str
    webhook_hosts: tuple[str, ...]
    package_max_bytes: int
    ssh_key_file: str
    workers: int
    concurrency: int
    local_nodes: bool
    sync_seconds: int
    trusted_proxies: list[str]
    reauth_above: int
    public_url: str
    oidc: OidcProvider | None
    secrets: tuple[str, ...]

    @property
    def database_password(self) -> str:
        """'' also when it is no secret at all: to mask the user's or the database's name would spoil every text."""
        database = self.database or {}
        password = str(database.get("PASSWORD") or "")
        return "" if password in (database.get("USER"), database.get("NAME"), database.get("HOST")) else password

    @property
    def is_served_over_https(self) -> bool:
        return any(origin.startswith("https://") for origin in self.csrf_trusted_origins)


def read() -> Environment:
    """Ends the process, with a line for each variable at fault, when there is any."""
    try:
        env_file.load()
    except env_file.EnvFileError as error:
        stop({env_file.VARIABLE: str(error)})
    env = values.NamedEnv(eager=False)
    environment = Environment(
        data_dir=values.parsed(env, "RELEASE_DATA_DIR", _data_dir) or DEFAULT_DATA_DIR,
        database=_database(env),
        secret_key=env.str("SECRET_KEY", ""),
        debug=values.boolean(env, "DEBUG"),
        allowed_hosts=values.items(env, "ALLOWED_HOSTS", _allowed_host) or LOCAL_HOSTS,
        csrf_trusted_origins=values.items(env, "CSRF_TRUSTED_ORIGINS", _origin),
        package_hosts=tuple(values.items(env, "RELEASE_PACKAGE_HOSTS", _host_rule)),
        package_proxy=values.parsed(env, "RELEASE_PACKAGE_PROXY", _proxy),
        sources_file=values.parsed(env, "RELEASE_SOURCES_FILE", _path) or "",
        webhook_hosts=tuple(values.items(env, "RELEASE_WEBHOOK_HOSTS", _host_rule)),
        package_max_bytes=values.number(env, "RELEASE_PACKAGE_MAX_BYTES", 2 * 1024**3, least=1),
        ssh_key_file=values.parsed(env, "RELEASE_SSH_KEY_FILE", _key_file) or "",
        workers=values.number(env, "RELEASE_WORKERS", 2, least=1, most=256),
        concurrency=values.number(env, "RELEASE_CONCURRENCY", 100, least=1, most=10_000),
        local_nodes=values.boolean(env, "RELEASE_LOCAL_NODES"),
        sync_seconds=values.number(env, "RELEASE_SYNC_SECONDS", 600, least=10),
        reauth_above=values.number(env, "RELEASE_REAUTH_ABOVE", 20, least=0, most=10_000),
        secrets=values.parsed(env, "RELEASE_SECRETS_FILE", _secrets) or (),
        trusted_proxies=values.items(env, "RELEASE_TRUSTED_PROXIES", _network),
        public_url=values.parsed(env, "RELEASE_PUBLIC_URL", _public_url) or "",
        oidc=oidc_environment.read(env),
    )
    problems = _problems(env)
    if "DATABASE_URL" in problems or not _is_usable(environment.database):
        problems["DATABASE_URL"] = DATABASE_PROBLEM
    if problems:
        stop(problems)
    return environment


def _problems(env: Env) -> dict[str, str]:
    try:
        env.seal()
    except EnvValidationError as error:
        return {name: "; ".join(messages) for name, messages in cast(ErrorMessages, error.error_messages).items()}
    return {}


def stop(problems: dict[str, str]) -> None:
    """The values stay out of it: they may hold a secret."""
    for name, problem in sorted(problems.items()):
        print(f"{name} {problem}", file=sys.stderr)
    sys.exit(1)


def _database(env: Env) -> dict[str, Any] | None:
    if env.str("DATABASE_URL", None) is None:
        return None
    database = env.dj_db_url("DATABASE_URL", conn_max_age=None, conn_health_checks=True)
    return None if database is None else dict(database)


def _is_usable(database: dict[str, Any] | None) -> bool:
    return database is None or (database["ENGINE"] == POSTGRESQL and bool(database["NAME"]))


def _allowed_host(item: str) -> str:
    if item == "*" or HOST.fullmatch(item):
        return item
    raise ValidationError(f"holds {item!r}: write host names alone, separated by commas, without scheme, port or path")


def _origin(item: str) -> str:
    parts = urlsplit(item)
    if (
        parts.scheme in ("http", "https")
        and parts.netloc
        and "@" not in item
        and item == f"{parts.scheme}://{parts.netloc}"
    ):
        return item
    raise ValidationError("must hold origins such as https://releases.example.com, separated by commas")


def _public_url(value: str) -> str:
    url = value.strip()
    if PUBLIC_URL.fullmatch(url):
        return url.rstrip("/")
    raise ValidationError("must look like https://releases.example.com, without user, query or fragment")


def _host_rule(item: str) -> str:
    try:
        HostRule.parse(item)
    except ValueError:
        raise ValidationError(
            f"holds {item!r}: write host or host:port, separated by commas, without scheme or path"
        ) from None
    return item.lower()


def _proxy(value: str) -> Proxy:
    try:
        proxy = Proxy.parse(value)
    except ValueError:
        raise ValidationError("must look like http://proxy.example.com:3128, or http://user:password@…") from None
    if any(0 < len(secret) < SHORTEST_SECRET for secret in proxy.secrets):
        raise ValidationError(f"has a password of less than {SHORTEST_SECRET} characters, too short to be masked")
    return proxy


def _path(value: str) -> str:
    """Whether it can be used is for the workers to say: on web hosts it need not be there."""
    return str(Path(value).expanduser().absolute())


def _network(item: str) -> str:
    try:
        return str(ipaddress.ip_network(item))
    except ValueError:
        raise ValidationError(
            f"holds {item!r}: write addresses or networks such as 10.0.0.0/8, separated by commas"
        ) from None


def _secrets(value: str) -> tuple[str, ...]:
    """One to a line. Too short ones can't be masked without blanking out everyday words."""
    try:
        lines = Path(value).expanduser().read_text().splitlines()
    except OSError as error:
        raise ValidationError(f"names a file that cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValidationError("names a file that is not UTF-8 text") from None
    given = tuple(line.strip() for line in lines if line.strip())
    if any(len(secret) < SHORTEST_SECRET for secret in given):
        raise ValidationError(f"holds a line of less than {SHORTEST_SECRET} characters, too short to be masked")
    return given


def _key_file(value: str) -> str:
    path = Path(value).expanduser()
    try:
        with path.open("rb"):
            return str(path)
    except OSError as error:
        raise ValidationError(f"names a file that cannot be read: {error.strerror}") from None


def _data_dir(value: str) -> Path:
    path = Path(value).expanduser().absolute()
    nearest = next(folder for folder in (path, *path.parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ValidationError(f"cannot be used: {nearest} is not a folder that this account may write to")
    return path
