"""Reads the environment (CONTRACT.md, "Environment"), and refuses all that is wrong with it at once.

An empty variable counts as one that is not set.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import dj_database_url
from environs import Env, EnvValidationError, ValidationError

from deploys.packages.hosts import HostRule
from inventory.security.redaction import SHORTEST_SECRET

ErrorMessages = Mapping[str, list[str]]  # what sealing an Env gives; its type allows for a single variable's too
CHECKOUT = Path(__file__).resolve().parent.parent
HOST = re.compile(r"\.?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\]")
# Nothing that curl's or wget's configuration could take for more than a URL.
PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9_.:\[\]-]+(/[A-Za-z0-9._~/-]*)?")
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
    package_max_bytes: int
    ssh_key_file: str
    workers: int
    concurrency: int
    local_nodes: bool
    sync_seconds: int
    trusted_proxies: list[str]
    reauth_above: int
    public_url: str
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
    env = Env(eager=False)
    environment = Environment(
        data_dir=_parsed(env, "RELEASE_DATA_DIR", _data_dir) or CHECKOUT / "var",
        database=_parsed(env, "DATABASE_URL", _database),
        secret_key=_text("SECRET_KEY"),
        debug=_parsed(env, "DEBUG", _boolean) or False,
        allowed_hosts=_parsed(env, "ALLOWED_HOSTS", partial(_each, _allowed_host)) or LOCAL_HOSTS,
        csrf_trusted_origins=_parsed(env, "CSRF_TRUSTED_ORIGINS", partial(_each, _origin)) or [],
        package_hosts=tuple(_parsed(env, "RELEASE_PACKAGE_HOSTS", partial(_each, _package_host)) or ()),
        package_max_bytes=_parsed(env, "RELEASE_PACKAGE_MAX_BYTES", partial(_number, least=1)) or 2 * 1024**3,
        ssh_key_file=_parsed(env, "RELEASE_SSH_KEY_FILE", _key_file) or "",
        workers=_parsed(env, "RELEASE_WORKERS", partial(_number, least=1, most=256)) or 2,
        concurrency=_parsed(env, "RELEASE_CONCURRENCY", partial(_number, least=1, most=10_000)) or 100,
        local_nodes=_parsed(env, "RELEASE_LOCAL_NODES", _boolean) or False,
        sync_seconds=_parsed(env, "RELEASE_SYNC_SECONDS", partial(_number, least=10)) or 600,
        reauth_above=_reauth_above(_parsed(env, "RELEASE_REAUTH_ABOVE", partial(_number, least=0, most=10_000))),
        secrets=_parsed(env, "RELEASE_SECRETS_FILE", _secrets) or (),
        trusted_proxies=_parsed(env, "RELEASE_TRUSTED_PROXIES", partial(_each, _network)) or [],
        public_url=_parsed(env, "RELEASE_PUBLIC_URL", _public_url) or "",
    )
    try:
        env.seal()
    except EnvValidationError as error:
        stop({name: "; ".join(messages) for name, messages in cast(ErrorMessages, error.error_messages).items()})
    return environment


def stop(problems: dict[str, str]) -> None:
    """The values stay out of it: they may hold a secret."""
    for name, problem in sorted(problems.items()):
        print(f"{name} {problem}", file=sys.stderr)
    sys.exit(1)


def _parsed(env: Env, name: str, parse: Callable[[str], Any]) -> Any:
    """None when it is not set, or is wrong, which `seal` tells then."""
    if not _text(name):
        return None
    parser = f"{name.lower()}_value"
    env.add_parser(parser, parse)
    return getattr(env, parser)(name)


def _text(name: str) -> str:
    return os.environ.get(name, "").strip()


def _boolean(value: str) -> bool:
    match value.strip().lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
    raise ValidationError("must be true or false")


def _number(value: str, *, least: int, most: int = sys.maxsize) -> int:
    try:
        number = int(value)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        upper = f" to {most}" if most < sys.maxsize else " or more"
        raise ValidationError(f"must be a whole number, {least}{upper}")
    return number


def _reauth_above(given: int | None) -> int:
    return 20 if given is None else given


def _each(parse: Callable[[str], str], value: str) -> list[str]:
    return [parse(item.strip()) for item in value.split(",") if item.strip()]


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


def _package_host(item: str) -> str:
    try:
        HostRule.parse(item)
    except ValueError:
        raise ValidationError(
            f"holds {item!r}: write host or host:port, separated by commas, without scheme or path"
        ) from None
    return item.lower()


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


def _database(value: str) -> dict[str, Any]:
    scheme = value.split("://", 1)[0]
    if scheme not in ("postgres", "postgresql"):
        raise ValidationError("must begin with postgres://: PostgreSQL is the one engine")
    try:
        database: dict[str, Any] = dict(dj_database_url.parse(value, conn_max_age=None, conn_health_checks=True))
    except (ValueError, KeyError):
        raise ValidationError("must look like postgres://user:password@host:5432/name") from None
    if not database["NAME"]:
        raise ValidationError("names no database: write postgres://user:password@host:5432/name")
    return database
