"""What a reader hands over: one member after the other, each with its content as a stream of pieces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from inventory.told import Told
from inventory.told import marked as gettext_noop


class Kind(Enum):
    FILE = gettext_noop("file")
    FOLDER = gettext_noop("folder")
    SYMLINK = gettext_noop("symbolic link")
    HARD_LINK = gettext_noop("hard link")

    @property
    def told(self) -> Told:
        return Told(self.value)


@dataclass(frozen=True, kw_only=True)
class Member:
    """name and target as the archive spells them; mtime in seconds since 1970.

    has_special_bits: setuid, setgid or sticky, none of which is kept. has_guessed_name: what the archive says of its
    encoding is nothing, and the service's word was taken.
    """

    name: str
    kind: Kind
    size: int = 0
    is_executable: bool = False
    mtime: int = 0
    target: str = ""
    has_special_bits: bool = False
    has_guessed_name: bool = False


# The content must be read before the next member is asked for; what was not read is skipped.
Members = Iterator[tuple[Member, Iterator[bytes]]]
