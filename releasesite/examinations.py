"""What `doctor`, `check --deploy` and a start in production look at, in order, each with a number and the way to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from django.conf import settings

from releasesite import doctor
from releasesite.doctor import Finding, Verdict
from releasesite.site_files import COMMAND


@dataclass(frozen=True, kw_only=True)
class Examination:
    """number: of its check, `release.E006` or `release.W006`. fix: what to type or to write, for whoever has met it.

    at_start: `release-server` looks at it before it starts web or worker. is_local: of this machine at this moment, and so
    no matter of `check --deploy`.
    """

    number: int
    examine: Callable[[], Finding | Iterator[Finding]]
    fix: str
    needs_database: bool = False
    at_start: bool = False
    is_local: bool = False

    def findings(self) -> Iterator[Finding]:
        found = self.examine()
        for finding in (found,) if isinstance(found, Finding) else found:
            yield replace(finding, number=self.number)


def examine(chosen: Callable[[Examination], bool] = lambda _: True) -> Iterator[Finding]:
    """In the order in which things are needed; what needs the database is left out when it is away or not migrated."""
    has_database = True
    for examination in filter(chosen, EXAMINATIONS):
        if examination.needs_database and not has_database:
            continue
        for finding in examination.findings():
            has_database = has_database and not (
                finding.number in (DATABASE, SCHEMA) and finding.verdict is Verdict.BAD
            )
            yield finding


def identity_provider() -> Iterator[Finding]:
    """Nothing of it is imported where none is configured."""
    if settings.OIDC is not None:
        from releasesite.login.oidc import examination

        yield from examination.findings()


DATABASE, SCHEMA = 6, 7
EXAMINATIONS = (
    Examination(
        number=1,
        examine=doctor.python,
        fix="apt-get install python3.11 python3.11-venv\nPYTHON=/usr/bin/python3.11 sh install.sh VERSION",
        at_start=True,
    ),
    Examination(
        number=2,
        examine=doctor.data_folder,
        fix="install -d -o release -g release -m 0700 /var/lib/release\nRELEASE_DATA_DIR=/var/lib/release   (environment file)",
        at_start=True,
    ),
    Examination(
        number=3,
        examine=doctor.room,
        fix="df -h /var/lib/release\nRELEASE_DATA_DIR=/a/larger/disk   (environment file)",
        is_local=True,
    ),
    Examination(
        number=4,
        examine=doctor.env_file_lines,
        fix="NAME=value   (environment file; no `export`, nothing is expanded)",
        at_start=True,
    ),
    Examination(
        number=5,
        examine=doctor.secret_key,
        fix="python3 -c 'import secrets; print(secrets.token_urlsafe(50))'\n"
        "SECRET_KEY=…   (environment file, the same on every host)",
        at_start=True,
    ),
    Examination(
        number=DATABASE,
        examine=doctor.database,
        fix="DATABASE_URL=postgres://release:PASSWORD@db.example.com:5432/release   (environment file)\n"
        'psql "$DATABASE_URL" -c "SELECT version()"   (PostgreSQL 14 or newer)',
        needs_database=True,
        at_start=True,
    ),
    Examination(
        number=SCHEMA,
        examine=doctor.migrations,
        fix=f"{COMMAND} migrate   (older schema)\nsh install.sh VERSION   (newer schema: the version that made it)",
        needs_database=True,
        at_start=True,
    ),
    Examination(
        number=8,
        examine=doctor.ssh_key,
        fix="ssh-keygen -t ed25519 -N '' -C release -f /etc/release/ssh_key\n"
        "chown release: /etc/release/ssh_key && chmod 0600 /etc/release/ssh_key\n"
        "RELEASE_SSH_KEY_FILE=/etc/release/ssh_key   (environment file)",
        needs_database=True,
    ),
    Examination(
        number=9,
        examine=doctor.troubled_database,
        fix="ALTER SYSTEM SET max_connections = 300;   (then restart PostgreSQL)\n"
        "ALTER DATABASE release RESET default_transaction_read_only;",
        needs_database=True,
    ),
    Examination(
        number=10,
        examine=doctor.pulling_nodes,
        fix="RELEASE_PUBLIC_URL=https://releases.example.com   (environment file)",
        needs_database=True,
    ),
    Examination(
        number=11,
        examine=doctor.worker,
        fix="systemctl start release-worker && journalctl -u release-worker -n 50",
        needs_database=True,
        is_local=True,
    ),
    Examination(
        number=12,
        examine=doctor.package_hosts,
        fix="RELEASE_PACKAGE_HOSTS=packages.example.com   (environment file)",
    ),
    Examination(
        number=14,
        examine=doctor.package_sources,
        fix="chmod 0600 /etc/release/sources.yaml && chown release: /etc/release/sources.yaml\n"
        "RELEASE_PACKAGE_PROXY=http://proxy.example.com:3128   (environment file)",
    ),
    Examination(
        number=15,
        examine=identity_provider,
        fix="curl -sS https://login.example.com/realms/company/.well-known/openid-configuration\n"
        "RELEASE_OIDC_ISSUER=…   (environment file: what that says under `issuer`)\n"
        "chmod 0400 /etc/release/oidc_secret && chown release: /etc/release/oidc_secret",
        is_local=True,
    ),
    Examination(number=13, examine=doctor.port, fix="ss -ltnp | grep :8000\nPORT=8001 make run", is_local=True),
)
