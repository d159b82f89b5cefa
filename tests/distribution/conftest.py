"""The system as it is installed: a wheel, in a folder of its own, without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from filelock import FileLock

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@dataclass(frozen=True, kw_only=True)
class Installed:
    """folder: holds the installed packages; what they need comes from the tests' own environment."""

    wheel: Path
    folder: Path
    source: Path

    @property
    def command(self) -> tuple[str, ...]:
        return (sys.executable, str(self.folder / "bin" / "release-server"))

    def environment(self, **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL" and "RELEASE" not in name}
        return {
            **kept,
            "PYTHONPATH": str(self.folder),
            "DJANGO_SETTINGS_MODULE": "releasesite.settings",
            "RELEASE_ENV_FILE": os.devnull,
            **variables,
        }

    def run(self, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """From a folder that has nothing of ours in it."""
        return subprocess.run(
            (*self.command, *argv),
            cwd="/",
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=90,
        )


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built from what git has, so that nothing lying about in this checkout gets in."""
    folder = tmp_path_factory.mktemp("distribution")
    source = copy_of_sources(folder / "source")
    build = (*PIP, "wheel", str(source), "--no-deps", "--no-build-isolation", "--no-index", f"--wheel-dir={folder}")
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "installed"
    subprocess.run((*PIP, "install", str(wheel), "--no-deps", "--no-index", f"--target={target}"), check=True)
    return Installed(wheel=wheel, folder=target, source=source)


@pytest.fixture(scope="session")
def bundle_archive(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Of scripts/bundle.sh, with its checksum beside it: made once, whichever of the tests' processes comes first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "bundle"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            unfinished = folder.with_name(f"bundle.{worker_id}")
            source = copy_of_sources(unfinished / "source")
            (source / ".venv").symlink_to(Path(settings.BASE_DIR) / ".venv")
            offline_build = {"BUILD_OPTIONS": "--no-build-isolation --no-index", "OUT": str(unfinished)}
            subprocess.run(("sh", "scripts/bundle.sh"), cwd=source, check=True, env={**os.environ, **offline_build})
            unfinished.rename(folder)
    (archive,) = folder.glob("release-*.tar.gz")
    return archive


@pytest.fixture(scope="session")
def bundle(bundle_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked, as an admin has it on the host."""
    checked = subprocess.run(("sha256sum", "--check", f"{bundle_archive.name}.sha256"), cwd=bundle_archive.parent)
    assert checked.returncode == 0
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(bundle_archive, folder, filter="tar")
    return folder / bundle_archive.name.removesuffix(".tar.gz")


def copy_of_sources(to: Path) -> Path:
    """As a checkout would have them, with what is not committed yet; shared/, the tests and the documents are no part."""
    listed = subprocess.run(
        ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"),
        cwd=settings.BASE_DIR,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    for name in filter(None, listed):
        if (
            not name.startswith(("tests/", "bench/", "docs/screenshots/"))
            and (Path(settings.BASE_DIR) / name).is_file()
        ):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(Path(settings.BASE_DIR) / name, to / name)
    return to
