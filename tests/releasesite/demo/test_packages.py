from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from releasesite.demo.packages import VERSIONS, Version, build, build_all, package_name


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_package_has_the_same_bytes_each_time_it_is_built(version: Version) -> None:
    assert build(version) == build(version)


def test_the_versions_differ_and_say_their_own_name() -> None:
    packed = {version.name: build(version) for version in VERSIONS}

    assert len(set(packed.values())) == len(VERSIONS)
    for name, content in packed.items():
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            said = archive.extractfile("VERSION")
            assert said is not None
            assert said.read() == f"{name}\n".encode()
            assert {"server.py", "bin/restart.py", "manifest.json"} <= set(archive.getnames())


def test_the_versions_that_run_have_a_colour_each_and_the_broken_one_has_none() -> None:
    colours = {version.name: version.manifest.get("colour") for version in VERSIONS}

    assert colours["v1.3.0"] is None
    assert len({colours["v1.0.0"], colours["v1.1.0"], colours["v1.2.0"]} - {None}) == 3


def test_a_package_that_is_there_already_is_never_changed(tmp_path: Path) -> None:
    build_all(tmp_path)
    published = tmp_path / package_name("v1.0.0")
    published.write_bytes(b"an older build of the same version")

    build_all(tmp_path)

    assert published.read_bytes() == b"an older build of the same version"
    assert sorted(path.name for path in tmp_path.iterdir()) == [package_name(version.name) for version in VERSIONS]
