"""What scripts/install.sh and can_go_back refuse (what they do is in test_guide.py)."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from releasesite import __version__, schema_versions

WITHOUT_NETWORK = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")


@dataclass(frozen=True, kw_only=True)
class Host:
    prefix: Path
    bundle: Path

    def install(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            (*WITHOUT_NETWORK, "sh", str(self.bundle / "install.sh"), "--prefix", str(self.prefix), *argv),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=200,
        )


@pytest.fixture
def host(bundle: Path, tmp_path: Path) -> Host:
    """Nothing is installed there yet."""
    return Host(prefix=tmp_path / "opt", bundle=bundle)


def test_a_damaged_bundle_is_refused_and_nothing_changes(host: Host, tmp_path: Path) -> None:
    damaged = shutil.copytree(host.bundle, tmp_path / "bundle")
    wheel = next((damaged / "wheels").glob("gunicorn-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"more")

    done = host.install("9.9.9", "--offline", str(damaged))

    assert done.returncode == 1
    assert f"{damaged} is damaged" in done.stderr
    assert not (host.prefix / "releases" / "9.9.9").exists()


def test_a_version_that_the_bundle_does_not_have_is_refused_and_nothing_changes(host: Host) -> None:
    done = host.install("9.9.9", "--offline", str(host.bundle))

    assert done.returncode == 1
    assert f"{host.bundle} has another version: release_execution-{__version__}-py3-none-any.whl" in done.stderr
    assert not os.path.lexists(host.prefix / "current")
    assert not (host.prefix / "releases" / "9.9.9" / ".complete").exists()


@pytest.mark.django_db
def test_the_way_back_says_how_far_the_schema_lets_one_go() -> None:
    call_command("can_go_back", schema_versions.OLDEST_OVER_THIS_SCHEMA)
    with pytest.raises(CommandError, match="restore the dump from before the upgrade"):
        call_command("can_go_back", "0.0.9")
    with pytest.raises(CommandError, match="is no version such as"):
        call_command("can_go_back", "main")


@pytest.mark.django_db
def test_a_schema_that_a_newer_version_made_is_noticed() -> None:
    assert schema_versions.unknown() == schema_versions.missing() == []

    MigrationRecorder(connection).record_applied("deploys", "9999_of_next_year")

    assert schema_versions.unknown() == ["deploys.9999_of_next_year"]
    with pytest.raises(CommandError, match=f"migrated by a version newer than {__version__}"):
        call_command("can_go_back", __version__)
