"""`pip install ./client`: the command `release`, and the package with its types, without Django."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from django.conf import settings

import release_client

CLIENT = Path(settings.BASE_DIR) / "client"
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy: setuptools leaves things behind in the folder that it builds."""
    folder = tmp_path_factory.mktemp("build")
    source = shutil.copytree(
        CLIENT, folder / "client", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    )
    build = (*PIP, "wheel", str(source), "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder))
    subprocess.run(build, check=True)
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_holds_the_types_and_needs_no_django(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()

    assert "release_client/py.typed" in names
    assert "release_client/cli/main.py" in names
    assert f"Version: {release_client.__version__}\n" in metadata
    assert "django" not in metadata.lower()


def test_the_installed_command_works(wheel: Path, tmp_path: Path) -> None:
    subprocess.run(
        (*PIP, "install", str(wheel), "--no-deps", "--no-index", "--target", str(tmp_path / "lib")), check=True
    )
    command = (sys.executable, str(tmp_path / "lib" / "bin" / "release"), "--version")

    shown = subprocess.run(
        command, env={"PYTHONPATH": str(tmp_path / "lib")}, capture_output=True, text=True, check=True
    )

    assert shown.stdout == f"release {release_client.__version__}\n"
