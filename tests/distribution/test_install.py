"""scripts/install.sh from a bundle of scripts/bundle.sh, into a folder of its own, with the network off."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from releasesite import __version__, schema_versions
from tests.distribution.conftest import copy_of_sources
from tests.support.database import database_url

ROOT = Path(settings.BASE_DIR)
WITHOUT_NETWORK = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked, as an admin has it on the host. What is not to be built from again is left out of the copy."""
    folder = tmp_path_factory.mktemp("bundle")
    source = copy_of_sources(folder / "source")
    (source / ".venv").symlink_to(ROOT / ".venv")
    offline_build = {"BUILD_OPTIONS": "--no-build-isolation --no-index", "OUT": str(folder)}
    subprocess.run(("sh", "scripts/bundle.sh"), cwd=source, check=True, env={**os.environ, **offline_build})
    (archive,) = folder.glob("release-*.tar.gz")
    checked = subprocess.run(("sha256sum", "--check", f"{archive.name}.sha256"), cwd=folder, capture_output=True)
    assert checked.returncode == 0
    shutil.unpack_archive(archive, folder, filter="tar")
    return archive.parent / archive.name.removesuffix(".tar.gz")


@dataclass(frozen=True, kw_only=True)
class Host:
    prefix: Path
    bundle: Path
    env_file: Path

    def install(self, *argv: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL" and "RELEASE" not in name}
        return subprocess.run(
            (*WITHOUT_NETWORK, "sh", str(self.bundle / "install.sh"), "--prefix", str(self.prefix), *argv),
            cwd="/",
            env={
                **kept,
                "PIP_NO_COMPILE": "1",
                "DJANGO_SETTINGS_MODULE": "releasesite.settings",
                "RELEASE_ENV_FILE": str(self.env_file),
            },
            capture_output=True,
            text=True,
            timeout=200,
        )

    def leads_to(self, link: str = "current") -> str:
        return os.readlink(self.prefix / link)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("opt") / "release"


@pytest.fixture
def host(prefix: Path, bundle: Path, tmp_path: Path, transactional_db: None) -> Host:
    env_file = tmp_path / "env"
    env_file.write_text(f"DATABASE_URL={database_url()}\nRELEASE_DATA_DIR={tmp_path}\n")
    return Host(prefix=prefix, bundle=bundle, env_file=env_file)


def pretend_version(prefix: Path, version: str) -> None:
    """The same code under another name: its program's first line leads back to the Python of the real one."""
    shutil.copytree(prefix / "releases" / __version__, prefix / "releases" / version, symlinks=True)
    os.utime(prefix / "releases" / version)


@pytest.mark.timeout(400)
def test_a_bundle_is_installed_without_a_network_and_upgraded_and_taken_back_by_one_rename(host: Host) -> None:
    assert list((host.bundle / "client").glob("release_client-*.whl"))
    first = host.install(__version__, "--offline", str(host.bundle))
    assert first.returncode == 0, first.stderr
    assert host.leads_to() == f"releases/{__version__}"
    command = host.prefix / "current" / "bin" / "release-server"
    assert (
        subprocess.run((command, "--version"), capture_output=True, text=True).stdout
        == f"release-server {__version__}\n"
    )
    assert (host.prefix / "current" / "packaging" / "systemd" / "release-web.service").is_file()
    assert list((host.prefix / "current").rglob("staticfiles.json"))

    pretend_version(host.prefix, "0.2.1")
    upgraded = host.install("0.2.1", "--offline", str(host.bundle))
    assert upgraded.returncode == 0, upgraded.stderr
    assert "is there already" in upgraded.stdout
    assert "nothing was restarted" in upgraded.stdout
    assert (host.leads_to(), host.leads_to("previous")) == ("releases/0.2.1", f"releases/{__version__}")

    back = host.install("--back")
    assert back.returncode == 0, back.stderr
    assert f"{__version__} may run over the schema of {__version__}." in back.stdout
    assert (host.leads_to(), host.leads_to("previous")) == (f"releases/{__version__}", "releases/0.2.1")

    # The newest three stay, and what the links lead to.
    for version in ("0.1.7", "0.1.8", "0.1.9"):
        (host.prefix / "releases" / version).mkdir()
    assert host.install("0.2.1", "--offline", str(host.bundle)).returncode == 0
    assert sorted(os.listdir(host.prefix / "releases")) == ["0.1.7", "0.1.8", "0.1.9", __version__, "0.2.1"]


def test_a_damaged_bundle_is_refused_and_nothing_changes(host: Host, tmp_path: Path) -> None:
    damaged = shutil.copytree(host.bundle, tmp_path / "bundle")
    wheel = next((damaged / "wheels").glob("gunicorn-*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"more")

    done = host.install("9.9.9", "--offline", str(damaged))

    assert done.returncode == 1
    assert f"{damaged} is damaged" in done.stderr
    assert not (host.prefix / "releases" / "9.9.9").exists()


def test_a_version_that_the_bundle_does_not_have_leaves_current_as_it_is(host: Host, tmp_path: Path) -> None:
    before = os.path.lexists(host.prefix / "current") and host.leads_to()

    done = host.install("9.9.9", "--offline", str(host.bundle))

    assert done.returncode == 1
    assert f"{host.bundle} has another version: release_execution-{__version__}-py3-none-any.whl" in done.stderr
    assert (os.path.lexists(host.prefix / "current") and host.leads_to()) == before
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
