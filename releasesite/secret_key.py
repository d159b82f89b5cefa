"""The generated SECRET_KEY: made once, by whichever of several processes comes first."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

FILE = "secret-key"
# What builds or describes, often as root and before anything else: it must leave no key that the service can't read.
NEED_NO_KEY = ("collectstatic", "compilemessages", "help", "makemessages")


def is_not_needed() -> bool:
    """By the command line, since the settings have to know it before Django has looked at that."""
    return sys.argv[1:2] != [] and sys.argv[1] in NEED_NO_KEY


def stored_or_passing(data_dir: Path) -> str:
    """Raises OSError when the folder cannot be used."""
    return secrets.token_urlsafe(64) if is_not_needed() else stored_secret_key(data_dir)


def stored_secret_key(data_dir: Path) -> str:
    """Raises OSError when the folder cannot be used."""
    path = data_dir / FILE
    try:
        return path.read_text()
    except FileNotFoundError:
        data_dir.mkdir(parents=True, exist_ok=True)
        _store(path, secrets.token_urlsafe(64))
    return path.read_text()


def _store(path: Path, key: str) -> None:
    """Written whole under another name, then linked: a link never replaces, so the first process's key stays."""
    written = path.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(key)
            _give_to_owner_of(path.parent, descriptor)
            file.flush()
            os.fsync(file.fileno())
        os.link(written, path)
    except FileExistsError:
        return
    finally:
        written.unlink()


def _give_to_owner_of(folder: Path, descriptor: int) -> None:
    """A command run as root must not leave a key that the service's account can't read."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(descriptor, owner.st_uid, owner.st_gid)
