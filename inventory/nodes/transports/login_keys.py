"""The keys that we log in with: a private key's file with the certificate beside it, or what the ssh agent has."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import asyncssh

from inventory.nodes.transports.base import NodeUnreachable
from inventory.told import Told
from inventory.told import marked as _

_Stamp = tuple[int, int, int]


@asynccontextmanager
async def login_keys(key_file: str) -> AsyncIterator[Sequence[asyncssh.SSHKeyPair]]:
    """A file that has changed is read anew: a renewed certificate counts from the next login on. Raises OSError."""
    if key_file:
        yield _keys(key_file, _stamp(Path(key_file).stat()), _stamp_of_certificate(key_file))
        return
    path = os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        text = _("no key to log in with: set RELEASE_SSH_KEY_FILE, or start the worker with an ssh agent")
        raise NodeUnreachable(Told(text))
    async with asyncssh.connect_agent(path) as agent:
        yield await agent.get_keys()


def certificate_file(key_file: str) -> str:
    return f"{key_file}-cert.pub"


def fault_of_certificate(key_file: str) -> Told | None:
    """Why the certificate beside the key is of no use, with the day; None when there is none, or nothing is wrong with it."""
    path = certificate_file(key_file)
    if not key_file or not os.path.lexists(path):
        return None
    try:
        certificate = asyncssh.read_certificate(path)
    except (OSError, asyncssh.KeyImportError) as error:
        return Told(_("the SSH certificate %(path)s can't be read: %(said)s"), {"path": path, "said": str(error)})
    begins_at, ends_at = validity(certificate)
    now = time.time()
    if now >= ends_at:
        text = _("the SSH certificate %(path)s expired on %(day)s: have the key signed anew")
        return Told(text, {"path": path, "day": _day(ends_at)})
    if now < begins_at:
        text = _("the SSH certificate %(path)s is not valid before %(day)s")
        return Told(text, {"path": path, "day": _day(begins_at)})
    return None


def validity(certificate: asyncssh.SSHCertificate) -> tuple[int, int]:
    """Seconds since 1970, from and until when; asyncssh has no public name for them."""
    return getattr(certificate, "_valid_after", 0), getattr(certificate, "_valid_before", 2**64 - 1)


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _stamp_of_certificate(key_file: str) -> _Stamp | None:
    try:
        return _stamp(os.stat(certificate_file(key_file)))
    except FileNotFoundError:
        return None


@lru_cache(maxsize=4)
def _keys(key_file: str, _key: _Stamp, _certificate: _Stamp | None) -> Sequence[asyncssh.SSHKeyPair]:
    return list(asyncssh.load_keypairs([key_file]))
