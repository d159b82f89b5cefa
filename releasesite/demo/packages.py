"""Builds the demo's packages: the same files in every version, told apart by a manifest."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

SERVICE = "demo-service"
SOURCE = Path(__file__).parent / "service"


@dataclass(frozen=True, kw_only=True)
class Version:
    name: str
    manifest: dict[str, str]


VERSIONS = (
    Version(name="v1.0.0", manifest={"colour": "#1e5aa8", "message": "The first one."}),
    Version(name="v1.1.0", manifest={"colour": "#1d7a46", "message": "Now in green."}),
    Version(name="v1.2.0", manifest={"colour": "#6b3fa0", "message": "Purple, and no less calm."}),
    # Forgot its colour: the server ends at start, so its restart fails and the system reverts it.
    Version(name="v1.3.0", manifest={"message": "You should never read this."}),
)


def build_all(folder: Path) -> None:
    """Write what is missing. A package that is there stays: a version is one set of bytes."""
    for version in VERSIONS:
        package = folder / package_name(version.name)
        if not package.exists():
            new = package.with_suffix(".new")
            new.write_bytes(build(version))
            new.replace(package)


def package_name(version: str) -> str:
    return f"{SERVICE}-{version}.tar.gz"


def build(version: Version) -> bytes:
    """The same bytes on every machine, hence no times, no owners, and no compression (zlib's output varies)."""
    files = {str(path.relative_to(SOURCE)): path.read_bytes() for path in SOURCE.rglob("*.py")}
    files["VERSION"] = f"{version.name}\n".encode()
    manifest = {"service": SERVICE, **version.manifest}
    files["manifest.json"] = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()

    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=0, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(files[name]))
    return packed.getvalue()
