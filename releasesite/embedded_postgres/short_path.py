"""A socket's address holds 107 bytes of path: a folder too deep is reached through a short link of our own."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from releasesite.embedded_postgres.errors import EmbeddedServerError

LONGEST_SOCKET_PATH = 107  # sun_path's 108 without the closing zero, unix(7)
LINKS = Path("/tmp")  # noqa: S108 - not TMPDIR: every process must find the same one, and it must be short


def short_link(folder: Path) -> Path:
    """A link to the folder, kept by this account; one that somebody else has laid there is refused."""
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    link = LINKS / f"release-postgres-{os.geteuid()}-{digest}"
    try:
        link.symlink_to(folder)
    except FileExistsError:
        if link.lstat().st_uid != os.geteuid() or not link.is_symlink() or link.readlink() != folder:
            raise EmbeddedServerError(f"{link} is not ours: remove it, or choose a shorter RELEASE_DATA_DIR.") from None
    return link
