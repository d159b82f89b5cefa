"""The data folder holds the secret key, the packages, perhaps the database: nobody else on the machine may read it."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_PRIVATE = 0o700
# For root the embedded server is another account, which has to get through; to look is not needed for that.
_PRIVATE_BUT_TO_WALK_THROUGH = 0o711
_OURS = ("secret-key", "packages", "postgres")


def prepare(data_dir: Path, *, has_database: bool) -> None:
    """At each start: made if it is not there, and closed where an earlier version left it open to everybody.

    has_database: the embedded one. What can't be made or changed stays as it is: whoever needs the folder says so then.
    What is given to a group or by an access control list stays too.
    """
    with suppress(OSError):
        # The server may be there for others than this process.
        is_walked_through = os.geteuid() == 0 and (has_database or (data_dir / "postgres").exists())
        mode = _PRIVATE_BUT_TO_WALK_THROUGH if is_walked_through else _PRIVATE
        if not data_dir.exists():
            data_dir.mkdir(mode=mode, parents=True, exist_ok=True)
        # Never a folder of the system's, or of another program's, that the variable was set to by mistake.
        elif any((data_dir / name).exists() for name in _OURS):
            _close(data_dir, mode)
            _close(data_dir / "packages", _PRIVATE)


def _close(folder: Path, mode: int) -> None:
    found = folder.stat()
    if found.st_uid == os.geteuid() and found.st_mode & stat.S_IRWXO & ~mode:
        folder.chmod(stat.S_IMODE(found.st_mode) & mode)
