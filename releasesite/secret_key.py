"""The generated SECRET_KEY: made once, by whichever of several processes comes first."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

FILE = "secret-key"


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
            file.flush()
            os.fsync(file.fileno())
        os.link(written, path)
    except FileExistsError:
        return
    finally:
        written.unlink()
