"""The package that every tool deploys: 200 files, 2.4 MB as a tar.gz."""

from __future__ import annotations

import os
import random
from functools import cache
from pathlib import Path

from tests.support.package_builder import package

TEXT_FILES = 149
BINARY_FILES = 50
TEXT_FILE_BYTES = 16_000
BINARY_FILE_BYTES = 36_000


def release_package(version: str) -> bytes:
    """Program text, of Python's own library, and as many bytes (packed) that can't be packed, like images or jars."""
    chance = random.Random(version)
    files: dict[str, str | bytes] = {"VERSION": version}
    for number in range(TEXT_FILES):
        files[f"lib/part{number % 20}/module{number}.py"] = program_text(chance)
    for number in range(BINARY_FILES):
        files[f"assets/image{number}.png"] = chance.randbytes(BINARY_FILE_BYTES)
    return package(files, kind="tar.gz")


def program_text(chance: random.Random) -> bytes:
    """Of one file."""
    text = _library()
    begin = chance.randrange(len(text) - TEXT_FILE_BYTES)
    return text[begin : begin + TEXT_FILE_BYTES]


@cache
def _library() -> bytes:
    return b"".join(path.read_bytes() for path in sorted(Path(os.__file__).parent.glob("*.py")))
