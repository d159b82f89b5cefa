"""The machine that an admin begins with: Debian and its packages, names, a certificate, and a bundle in the home folder.

All this the guide takes for given; what it tells is done in a test by its own blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from tests.support.machine import Machine, machine
from tests.support.package_builder import package
from tests.support.tls import self_signed

DOCUMENTS = Path(settings.BASE_DIR) / "docs"
SITE, PACKAGES = "releases.example.com", "packages.example.com"
HOSTS = f"127.0.0.1 localhost machine {SITE}\n10.0.0.9 {PACKAGES}\n"  # No package may come from loopback.
CERTIFICATE = "/etc/ssl/release/fullchain.pem"
PACKAGE_HOST = f"""server {{
    listen 443 ssl http2;
    server_name {PACKAGES};
    ssl_certificate {CERTIFICATE};
    ssl_certificate_key {CERTIFICATE};
    root /srv/packages;
}}
"""
SECRET = "pa$$w0rd & more"
# What the admin changes where a document opens an editor; nginx's site has the names of this machine as it comes.
EDITOR = f"""#!/bin/sh
sed -i 's|:PASSWORD@|:pa%24%24w0rd%20%26%20more@|' "$1"
case $1 in *env*) echo SSL_CERT_FILE={CERTIFICATE} >> "$1" ;; esac
"""
PROFILE = f"export EDITOR=/usr/local/bin/editor REQUESTS_CA_BUNDLE={CERTIFICATE}\n"
VERSIONS = ("v1.0.0", "v1.1.0", "v1.2.0")


@contextmanager
def debian(folder: Path, bundle: Path) -> Iterator[Machine]:
    """admin may sudo; PostgreSQL, nginx and sshd run. bundle: its archive."""
    with machine(folder) as made:
        made.write("/etc/hosts", HOSTS)
        made.do("ip address add 10.0.0.9/32 dev lo && useradd --create-home --shell /bin/bash admin && ssh-keygen -A")
        made.write("/etc/sudoers.d/admin", "admin ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
        made.write("/usr/local/bin/editor", EDITOR, mode=0o755)
        made.write("/home/admin/.profile", PROFILE)
        (made.root / "home/admin" / bundle.name).write_bytes(bundle.read_bytes())
        certificate = self_signed([SITE, PACKAGES], folder / "certificate").read_text()
        for name in ("fullchain.pem", "privkey.pem"):
            made.write(f"/etc/ssl/release/{name}", certificate)
        made.write("/etc/nginx/conf.d/packages.conf", PACKAGE_HOST)
        for version in VERSIONS:
            archive = made.root / f"srv/packages/user-service-{version}.tar.gz"
            archive.parent.mkdir(exist_ok=True)
            archive.write_bytes(package({"app.py": f"print('{version}')\n"}))
        made.do("systemctl start ssh nginx && pg_createcluster $(ls /usr/lib/postgresql | tail -n 1) main --start")
        yield made


def blocks(document: str, *, under: str = "", language: str = "sh") -> list[str]:
    """As they stand; of a console's, what was typed. under: a heading; else those of the whole document."""
    text = (DOCUMENTS / document).read_text()
    if under:
        text = re.split(r"^#+ ", text.split(f"\n{under}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"{document} has no block {under}"
    return found if language == "sh" else ["\n".join(re.findall(r"^\$ (.*)", each, re.MULTILINE)) for each in found]


def paste(made: Machine, block: str) -> str:
    """As admin, in one session: what a block exports is there for the next. Returns its stdout."""
    script = f"cd ~; [ ! -e ~/.session ] || . ~/.session; set -e\n{block}\nexport -p > ~/.session"
    return made.do(script, user="admin", stdin=f"{SECRET}\n{SECRET}\n", seconds=400)
