"""From the checkout that 0.1.0 was to this version, by docs/upgrade.md, with a deploy in the middle of its switch.

The code of then is taken out of the history, with the packages that it was locked to.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.distribution.debian import PACKAGES, SITE, blocks, debian, paste
from tests.support.machine import Machine
from tests.support.worker import wait_for

OLD = "529037d"  # The last one before the rooms, of 24 November: 0.1.0.
RESTART = 'while [ -e "$RELEASE_ROOT/hold" ]; do sleep 0.1; done; echo "$RELEASE_VERSION" >> "$RELEASE_ROOT/restarts"'
ROOT = "/srv/user-service/instance-1"
HEADERS = f"-H 'Host: {SITE}' -H 'X-Forwarded-Proto: https'"
MANAGE = "cd /opt/release && sudo -u release sh -c 'set -a; . /etc/release/env; .venv/bin/python manage.py {}'"


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """source.tar, and wheels/ of what it needs."""
    folder = tmp_path_factory.mktemp("old")
    git = ("git", "-C", str(settings.BASE_DIR))
    if subprocess.run((*git, "cat-file", "-e", f"{OLD}^{{commit}}"), capture_output=True).returncode:
        pytest.skip(f"this clone's history has no {OLD}; tests/faults/test_upgrade_in_mid_deploy.py tries old rows")
    subprocess.run((*git, "archive", f"--output={folder}/source.tar", OLD), check=True)
    subprocess.run(("tar", "-xf", "source.tar", "requirements.txt"), cwd=folder, check=True)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--only-binary=:all:")
    subprocess.run((*pip, "--no-deps", "--requirement=requirements.txt", "--dest=wheels"), cwd=folder, check=True)
    return folder


@pytest.mark.timeout(1200)
def test_a_deploy_in_mid_switch_ends_truthfully_over_the_upgrade_and_the_old_code_goes_on(
    bundle_archive: Path, old: Path, tmp_path: Path
) -> None:
    with debian(tmp_path, bundle_archive) as host:
        install_old(host, old)
        start(host, "v1.0.0")
        assert ended(host, "v1.0.0")["status"] == "completed"
        host.do(f"touch {ROOT}/hold")
        start(host, "v1.1.0")
        wait_for(lambda: current(host) == "releases/v1.1.0", what="switch", log=None)
        paste(host, "tar -xzf release-*.tar.gz")
        serve_an_index(host)
        upgrade, back = blocks("upgrade.md", under="### From 0.1.0, a checkout")

        paste(host, upgrade.replace(" --offline release-0.2.0-*/", ""))  # From the index, as it may be left out.

        wait_until_ready(host)
        assert status(host, "v1.1.0")["status"] == "in_progress"
        host.do(f"rm {ROOT}/hold")
        assert ended(host, "v1.1.0")["status"] == "completed", host.journal()
        assert current(host) == "releases/v1.1.0"
        assert set(host.do(f"cat {ROOT}/restarts").split()) == {"v1.0.0", "v1.1.0"}
        refused = host.run("sh ~admin/release-*/install.sh --back")
        assert (refused.returncode, refused.stderr) == (1, "install: there is no version before in /opt/release\n")

        paste(host, back)

        wait_until_ready(host)
        start(host, "v1.2.0")
        assert ended(host, "v1.2.0")["status"] == "completed", host.journal()
        assert current(host) == "releases/v1.2.0"


def install_old(host: Machine, old: Path) -> None:
    """As docs/operations.md said then."""
    for block in blocks("production.md")[:4]:
        paste(host, block)
    for name in ("source.tar", *(f"wheels/{each.name}" for each in (old / "wheels").iterdir())):
        (host.root / "srv/old" / name).parent.mkdir(parents=True, exist_ok=True)
        (host.root / "srv/old" / name).write_bytes((old / name).read_bytes())
    host.do(
        "mkdir /opt/release && cd /opt/release && tar -xf /srv/old/source.tar && python3 -m venv .venv\n"
        ".venv/bin/pip install -q --no-compile --no-index --find-links /srv/old/wheels -r requirements.txt\n"
        "DATABASE_URL=postgres://none@localhost/none SECRET_KEY=none .venv/bin/python manage.py collectstatic --no-input -v 0"
    )
    paste(host, MANAGE.format("migrate -v 0"))
    unit_files(host)
    restart = json.dumps(RESTART).replace("$", "\\$")
    node, inventory = blocks("production.md", under="## 7. The first deploy")[:2]
    paste(host, node)
    paste(host, inventory.partition("\nsudo -u release")[0].replace('"true"', f"{restart}\n    command_timeout: 900"))
    paste(host, MANAGE.format("import_inventory /etc/release/inventory.yaml"))
    paste(host, MANAGE.format("create_token my-scheduler --scope deploy") + " > ~/release-token")
    paste(host, "sudo systemctl daemon-reload && sudo systemctl enable --now release-worker release-web")
    wait_until_ready(host)


def serve_an_index(host: Machine) -> None:
    """Of the wheels in the bundle, as the one that pip is configured for."""
    host.write("/etc/pip.conf", "[global]\nindex-url = http://127.0.0.1:8999/\n")
    host.do(
        "cd ~admin/release-*/wheels && for wheel in *.whl; do\n"
        "name=$(echo ${wheel%%-*} | tr A-Z_. a-z--); mkdir -p /srv/index/$name && cp $wheel /srv/index/$name; done\n"
        "python3 -m http.server --bind 127.0.0.1 --directory /srv/index 8999 > /dev/null 2>&1 &"
    )


def unit_files(host: Machine) -> None:
    """Those that the documents of then have in their text."""
    text = (host.root / "opt/release/docs/operations.md").read_text()
    for unit in re.findall(r"^```ini\n(\[Unit\]\n.*?)^```$", text, re.MULTILINE | re.DOTALL):
        name = "release-worker" if "manage.py worker" in unit else "release-web"
        host.write(f"/etc/systemd/system/{name}.service", unit)


def wait_until_ready(host: Machine) -> None:
    asked = f"curl -fsS http://127.0.0.1:8000/readyz {HEADERS}"
    wait_for(lambda: host.run(asked).returncode == 0, what="web and worker", log=None, within_seconds=120)


def call(host: Machine, path: str, body: str = "") -> dict[str, object]:
    """/v1 of whatever web runs."""
    token = '-H "Authorization: Bearer $(cat ~admin/release-token)" -H "Content-Type: application/json"'
    said = host.do(f"curl -sS http://127.0.0.1:8000/v1/deploy/{path} {HEADERS} {token} {body}")
    found: dict[str, object] = json.loads(said)
    return found


def start(host: Machine, version: str) -> None:
    """With the version as its id."""
    url = f"https://{PACKAGES}/user-service-{version}.tar.gz"
    what = {"service": "user-service", "version": version, "instances": ["instance-1"]}
    call(host, "execute", f"-d '{json.dumps({**what, 'deploy_id': version, 'package_url': url})}'")


def status(host: Machine, deploy_id: str) -> dict[str, object]:
    return call(host, f"status/{deploy_id}")


def ended(host: Machine, deploy_id: str) -> dict[str, object]:
    def is_at_its_end() -> bool:
        return status(host, deploy_id)["status"] not in ("pending", "in_progress")

    wait_for(is_at_its_end, what=f"end of {deploy_id}", log=None, within_seconds=180)
    return status(host, deploy_id)


def current(host: Machine) -> str:
    return host.run(f"readlink {ROOT}/current").stdout.strip()
