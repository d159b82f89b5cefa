"""docs/production.md and docs/upgrade.md word for word: their blocks, pasted into a Debian with a bundle and no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from releasesite import __version__
from tests.distribution.debian import blocks, debian, paste
from tests.support.machine import Machine

NEXT = "0.3.0"  # As docs/upgrade.md calls it.
PLACES = "/etc/release/env /etc/release/ssh_key /home/admin/release-token"


@pytest.mark.timeout(900)
def test_from_an_empty_machine_to_a_first_deploy_then_an_upgrade_and_back(bundle_archive: Path, tmp_path: Path) -> None:
    with debian(tmp_path, bundle_archive) as host:
        said = "".join(paste(host, block) for block in blocks("production.md"))

        assert "no service of ours is enabled on this host: nothing was restarted" in said
        assert '{"status":"ok"}' in said
        assert said.endswith("user-service: v1.0.0: 1\n")
        assert host.do("readlink /srv/user-service/instance-1/current") == "releases/v1.0.0\n"
        assert host.do(f"stat -c '%U:%G %a' {PLACES}").splitlines() == [
            "root:release 640",
            "release:release 600",
            "admin:admin 600",
        ]
        if host.has_systemd:
            assert_confined(host)

        said = "".join(paste(host, block) for block in blocks("upgrade.md", under="## Back up and restore"))
        assert "audit intact" in said
        assert said.endswith(".dump can be restored.\n")

        make_a_next_version(host)
        upgrade, back = blocks("upgrade.md", under="## Upgrade", language="console")
        assert_restarted(paste(host, upgrade), now=NEXT, before=__version__)
        # The newest three stay, and what the links lead to.
        assert host.do("ls /opt/release/releases").split() == ["0.1.8", "0.1.9", __version__, NEXT]
        said = paste(host, back)
        assert f"{__version__} may run over the schema of {__version__}." in said
        assert_restarted(said, now=__version__, before=NEXT)


def assert_confined(host: Machine) -> None:
    """By the kernel itself, in the first process of each service; and it has run from its start on."""
    for service in ("release-worker", "release-web"):
        main, restarts = host.do(f"systemctl show --property MainPID,NRestarts --value {service}").split()
        status = host.do(f"cat /proc/{main}/status")
        assert restarts == "0"
        assert {"NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000"} <= set(status.splitlines())


def make_a_next_version(host: Machine) -> None:
    """The same code under another name, and older ones beside it."""
    host.do(
        f"cd /opt/release/releases && cp -a {__version__} {NEXT} && mkdir 0.1.7 0.1.8 0.1.9 && touch -d '1 hour ago' 0.1.7\n"
        f"cd ~admin && mv release-{__version__}-*/ release-{NEXT}-next && tar -czf release-{NEXT}-next.tar.gz release-{NEXT}-next"
    )


def assert_restarted(said: str, *, now: str, before: str) -> None:
    """Workers first, and both answer again."""
    lines = [line.removeprefix("install: ") for line in said.splitlines()]
    ours = [f"current is {now} (before: {before})", "restarting release-worker", "restarting release-web"]
    assert [line for line in lines if line in ours] == ours
