"""Which system account the server runs as. PostgreSQL refuses to run as root, so root's drops to one of its own."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from releasesite.embedded_postgres.errors import EmbeddedServerError
from releasesite.embedded_postgres.folder_access import let_search

ACCOUNT = "release-postgres"


@dataclass(frozen=True, kw_only=True)
class Account:
    uid: int
    gid: int

    @property
    def is_this_process(self) -> bool:
        return self.uid == os.geteuid()

    def run(self, *argv: str, cwd: Path, text_in: str = "") -> subprocess.CompletedProcess[str]:
        """Runs to the end as this account; stdout and stderr are captured together."""
        return subprocess.run(
            argv,
            cwd=cwd,
            text=True,
            errors="replace",
            input=text_in,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=None if self.is_this_process else self.uid,
            group=None if self.is_this_process else self.gid,
            extra_groups=None if self.is_this_process else (),
        )

    def give(self, path: Path) -> None:
        if not self.is_this_process:
            os.chown(path, self.uid, self.gid)

    def must_reach(self, *paths: Path) -> None:
        if self.is_this_process:
            return
        try:
            for path in paths:
                let_search(path, uid=self.uid)
        except OSError as error:
            raise EmbeddedServerError(
                f"The account {ACCOUNT} may not enter {error.filename}: move the checkout and RELEASE_DATA_DIR out of "
                "private folders, do not run as root, or set DATABASE_URL."
            ) from error


def account_for(data: Path) -> Account:
    """The account that owns the data already there; else this process's own, or for root ACCOUNT, which is created."""
    if os.geteuid() != 0:
        return Account(uid=os.geteuid(), gid=os.getegid())
    if data.exists() and data.stat().st_uid != 0:
        return Account(uid=data.stat().st_uid, gid=data.stat().st_gid)
    entry = _existing() or _created()
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def _existing() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return None


def _created() -> pwd.struct_passwd:
    argv = ("useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", ACCOUNT)
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise EmbeddedServerError(f"No useradd to create the account {ACCOUNT} with: do not run as root.") from error
    entry = _existing()
    if entry is None:
        raise EmbeddedServerError(
            f"Creating the account {ACCOUNT} failed ({done.stderr.strip()}): do not run as root, or set DATABASE_URL."
        )
    return entry
