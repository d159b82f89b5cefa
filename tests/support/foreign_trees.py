"""Deploy roots as other tools leave them: Capistrano's and Deployer's shape, and a link to a build elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CAPISTRANO_RELEASES = ("20240101120000", "20240215093000", "20240301080000")


def capistrano(root: Path) -> str:
    """releases/<time>, shared/ linked into each, repo/, revisions.log, an absolute `current`. What it leads to."""
    for name in CAPISTRANO_RELEASES:
        release = _release(root / "releases" / name)
        (release / "REVISION").write_text("f00\n")
        (release / "log").symlink_to(root / "shared" / "log")
    (root / "shared" / "log").mkdir(parents=True)
    (root / "shared" / "log" / "production.log").write_text("lines\n")
    (root / "repo").mkdir()
    (root / "repo" / "HEAD").write_text("ref: refs/heads/main\n")
    (root / "revisions.log").write_text("Branch main deployed as release 20240301080000\n")
    (root / "current").symlink_to(root / "releases" / CAPISTRANO_RELEASES[-1])
    return CAPISTRANO_RELEASES[-1]


def deployer(root: Path) -> str:
    """releases/1 to 3, .dep/, a relative `current`. What it leads to."""
    for name in ("1", "2", "3"):
        _release(root / "releases" / name)
    (root / ".dep").mkdir()
    (root / ".dep" / "latest_release").write_text("3\n")
    (root / "shared").mkdir()
    (root / "current").symlink_to("releases/3")
    return "3"


def linked_build(root: Path, build: Path) -> Path:
    """`current` leads to a build outside of the root."""
    _release(build)
    root.mkdir(parents=True, exist_ok=True)
    (root / "current").symlink_to(build)
    return build


def uploads(folder: Path) -> Path:
    """A release of another tool with what its users have uploaded."""
    _release(folder)
    (folder / "uploads").mkdir()
    (folder / "uploads" / "photo.jpg").write_bytes(b"\xff\xd8 not to be had again")
    return folder


def contents(folder: Path) -> Mapping[str, bytes | str]:
    """Every path below, with its bytes or where it links to."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def shared_with_the_login(root: Path) -> None:
    """The login of our SSH user may write in root and releases/, while what is in there is another's."""
    for folder in (root, root / "releases"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)


def _release(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "run").write_text("#!/bin/sh\necho theirs\n")
    (folder / "VERSION").write_text("theirs")
    return folder
