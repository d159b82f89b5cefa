"""From a URL on a real HTTP host to an artifact in the store."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from deploys import downloads, package_errors, packages
from deploys.package_errors import FetchStopped, PackageError
from deploys.package_store import PackageStore
from tests.deploys.repacking import read_artifact
from tests.support.package_builder import package, sha256
from tests.support.package_host import Behaviour, PackageHost

CONTENT = package({"bin/app": b"#!/bin/sh\n", "data": hashlib.sha256(b"x").digest() * 20_000})
# Bytes that don't compress, so that a package is larger than what one read takes.
NOISE = b"".join(hashlib.sha256(str(number).encode()).digest() for number in range(20_000))
LARGE = package({"data": NOISE})


@pytest.fixture
def store(tmp_path: Path, settings: Settings, package_host: PackageHost) -> PackageStore:
    settings.DATA_DIR = tmp_path
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    settings.PACKAGE_MAX_BYTES = 8 * 1024**2
    return PackageStore(tmp_path / "packages")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    patience = downloads.Patience(deadline_seconds=20, first_pause_seconds=0.01)
    monkeypatch.setattr(packages, "PATIENCE", patience)


def refusal(url: str, **more: str) -> PackageError:
    with pytest.raises(PackageError) as raised:
        packages.fetch(url, **more)
    return raised.value


def left_behind(store: PackageStore) -> list[str]:
    return sorted(str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file())


def test_it_stores_the_artifact_of_a_package(store: PackageStore, package_host: PackageHost) -> None:
    artifact = packages.fetch(package_host.add("p.tar.gz", CONTENT))
    assert artifact.sha256 == sha256(CONTENT)
    assert artifact.size_bytes == len(CONTENT)
    assert artifact.artifact_sha256 == sha256(artifact.path.read_bytes())
    assert artifact.artifact_bytes == artifact.path.stat().st_size
    assert artifact.file_count == 2
    assert read_artifact(artifact.path.read_bytes()).manifest == ["./bin/app", "./data"]
    assert packages.stored(artifact.sha256) == artifact
    digest = artifact.sha256
    assert left_behind(store) == [f"{digest[:2]}/{digest}.json", f"{digest[:2]}/{digest}.tar.gz", "lock"]


def test_it_asks_the_host_once_and_for_the_bytes_as_they_are(store: PackageStore, package_host: PackageHost) -> None:
    packages.fetch(package_host.add("p.tar.gz", CONTENT))
    [request] = package_host.requests
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["Host"] == package_host.netloc


def test_it_takes_a_known_package_from_the_store(store: PackageStore, package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    artifact = packages.fetch(url)
    assert packages.fetch(url, expected_sha256=artifact.sha256.upper()) == artifact
    assert len(package_host.requests) == 1


def test_it_says_what_it_does_without_the_secrets_of_the_url(store: PackageStore, package_host: PackageHost) -> None:
    notes: list[str] = []
    url = package_host.add("p.tar.gz", CONTENT).replace("//", "//user:s3cret@") + "?sig=s3cret"
    packages.fetch(url, on_note=notes.append)
    assert notes[0] == f"Downloading {package_host.url('p.tar.gz')}"
    assert "s3cret" not in " ".join(notes)
    assert package_host.requests[0].headers["Authorization"].startswith("Basic ")
    assert package_host.requests[0].path == "/p.tar.gz?sig=s3cret"
