"""Versions of an application that follow each other, a few files of each changed: made up ones, and real ones from the index."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.release_package import BINARY_FILE_BYTES, BINARY_FILES, TEXT_FILES, program_text
from tests.support.package_builder import package

CHECKOUT = Path(__file__).resolve().parent.parent
DOWNLOADS = CHECKOUT / "var" / "bench" / "packages"
# 3 %: of 200 files 6.
CHANGED_OF = 33
# Of a file of text that was changed, one line in so many.
LINES_CHANGED_OF = 10
WHEN = 1_700_000_000

Files = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Application:
    """versions: without end, or as many as there are."""

    key: str
    title: str
    versions: Callable[[], Iterator[Files]]


def made_up(key: str, title: str, *, times: int = 1, binary_bytes: int = BINARY_FILE_BYTES) -> Application:
    """Like `release_package`, so many times as large."""

    def versions() -> Iterator[Files]:
        chance = random.Random(key)
        files: dict[str, bytes] = {}
        for number in range(TEXT_FILES * times):
            files[f"lib/part{number % 20}/module{number}.py"] = program_text(chance)
        for number in range(BINARY_FILES * times):
            files[f"assets/part{number % 20}/image{number}.png"] = chance.randbytes(binary_bytes)
        for version in range(1, 1_000):
            yield {"VERSION": f"{version}".encode(), **files}
            files |= {name: _changed(files[name], chance) for name in list(files)[version % CHANGED_OF :: CHANGED_OF]}

    return Application(key=key, title=title, versions=versions)


def _changed(content: bytes, chance: random.Random) -> bytes:
    if b"\n" not in content[:1000]:
        return chance.randbytes(len(content))
    lines = content.split(b"\n")
    for number in range(chance.randrange(LINES_CHANGED_OF), len(lines), LINES_CHANGED_OF):
        lines[number] = lines[number][::-1]
    return b"\n".join(lines)


def from_index(name: str, older: str, newer: str) -> Application:
    """Two wheels as they are, downloaded once."""

    def versions() -> Iterator[Files]:
        for version in (older, newer):
            with zipfile.ZipFile(_wheel(name, version)) as wheel:
                yield {each.filename: wheel.read(each) for each in wheel.infolist() if not each.is_dir()}

    return Application(key=name, title=f"{name} {older} to {newer}", versions=versions)


def _wheel(name: str, version: str) -> Path:
    folder = DOWNLOADS / f"{name}-{version}"
    if not list(folder.glob("*.whl")):
        what = ("--only-binary=:all:", "--no-deps", "--python-version", "3.12", "--platform", "manylinux_2_28_x86_64")
        command = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *what)
        subprocess.run((*command, "--dest", str(folder), f"{name}=={version}"), check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def changed_bytes(old: Files, new: Files) -> int:
    """Of the files that are new or other ones, packed: the least that has to be sent."""
    return len(package({name: content for name, content in new.items() if old.get(name) != content}))


def write_tree(folder: Path, files: Files, *, number: int, before: Path | None) -> Path:
    """As a build leaves it: a file that is as in the version before has its time, too. number: of the version."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        old = before / name if before else None
        is_old = old is not None and old.exists() and old.read_bytes() == content
        when = old.stat().st_mtime if old is not None and is_old else WHEN + 60 * number
        os.utime(path, (when, when))
    return folder


def write_package(path: Path, folder: Path, *, level: int = 6) -> Path:
    """level: gzip's; another one makes another package of the same files."""
    options = ("--sort=name", "--owner=0", "--group=0", "-I", f"gzip -{level}", "-C", str(folder))
    subprocess.run(("tar", *options, "-cf", str(path), *sorted(os.listdir(folder))), check=True)
    return path
