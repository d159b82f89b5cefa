"""What a zip's names say: bytes, and rarely a word on their encoding.

Bit 11 of a member's flags promises UTF-8, but macOS writes UTF-8 without it; Windows writes the code page of its
country without it. Extra field 0x7075 holds the name in UTF-8 beside such a one (Info-ZIP, APPNOTE 4.6.9).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from deploys.packages.archive.refusals import INVALID, UNSAFE, Refused, shown
from deploys.packages.archive.zip_directory import Entry
from inventory.told import Told
from inventory.told import marked as gettext_noop

UTF8 = "utf-8"
_IS_UTF8 = 0x800
_UNICODE_PATH_VERSION = 1
# A lead byte of three or four: text of a code page is hardly ever UTF-8 with one of these.
_LONG_LEADS = bytes(range(0xE0, 0xF5))


@dataclass(frozen=True, kw_only=True)
class Name:
    text: str
    is_guessed: bool = False


class Names:
    """How the names of one archive read.

    In this order: its field 0x7075, when that was made for this very name; UTF-8, when it is; `encoding`, when the
    service names one. One tool made all of the archive: with one name that is in the encoding, all that say nothing of
    theirs are, since short names may by chance be UTF-8 as well.
    """

    def __init__(self, entries: Iterable[Entry], encoding: str) -> None:
        """encoding: what Python calls it; UTF-8 where the service names no other."""
        self._encoding = encoding
        silent = [each.name for each in entries if _says_nothing(each)] if encoding != UTF8 else []
        self._are_silent_ones_encoded = any(_utf8(name) is None for name in silent)
        if not self._are_silent_ones_encoded and not any(_is_surely_utf8(name) for name in silent):
            self._refuse_if_ambiguous(silent)

    def of(self, entry: Entry) -> Name:
        """Raises `Refused`."""
        name = self._read(entry)
        if "\\" not in name.text:
            return name
        if not entry.is_made_on_windows:
            raise Refused(
                UNSAFE,
                Told(
                    gettext_noop("the name %(name)s has a backslash, which some take for a slash"),
                    {"name": shown(name.text)},
                ),
                Told(gettext_noop("Rename it where the package is built, and deploy that.")),
            )
        return Name(text=name.text.replace("\\", "/"), is_guessed=name.is_guessed)

    def _read(self, entry: Entry) -> Name:
        beside = _name_beside(entry)
        text = _utf8(entry.name) if beside is None else _utf8(beside)
        if text is not None and not (self._are_silent_ones_encoded and _says_nothing(entry)):
            return Name(text=text)
        if beside is not None:
            raise self._unreadable(beside)
        try:
            return Name(text=entry.name.decode(self._encoding), is_guessed=not entry.name.isascii())
        except UnicodeDecodeError:
            raise self._unreadable(entry.name) from None

    def _refuse_if_ambiguous(self, silent: list[bytes]) -> None:
        for name in silent:
            other = None if name.isascii() else _decoded(name, self._encoding)
            if other is not None:
                raise Refused(
                    INVALID,
                    Told(
                        gettext_noop(
                            "the name %(name)s, if it is UTF-8, is %(other)s in %(encoding)s, and the archive does not say which"
                        ),
                        {"name": shown(_utf8(name) or name), "other": shown(other), "encoding": self._encoding.upper()},
                    ),
                    Told(
                        gettext_noop(
                            "Pack it with a tool that marks its names as UTF-8 (7-Zip: -mcu=on), or as tar.gz, and deploy "
                            "that."
                        )
                    ),
                )

    def _unreadable(self, name: bytes) -> Refused:
        if self._encoding != UTF8:
            return Refused(
                INVALID,
                Told(
                    gettext_noop(
                        "the name %(name)s is neither UTF-8 nor %(encoding)s, which the service's zip_names says"
                    ),
                    {"name": shown(name), "encoding": self._encoding.upper()},
                ),
                Told(
                    gettext_noop(
                        "Pack it with a tool that writes UTF-8 names (7-Zip: -mcu=on), or as tar.gz, and deploy that."
                    )
                ),
            )
        return Refused(
            INVALID,
            Told(
                gettext_noop("the name %(name)s is not UTF-8, and nothing says in what encoding it is"),
                {"name": shown(name)},
            ),
            Told(
                gettext_noop(
                    "Pack it with a tool that writes UTF-8 names (7-Zip: -mcu=on), or as tar.gz; or, if Windows in "
                    "Chinese made it, have an admin set the service's zip_names to gbk."
                )
            ),
        )


def _says_nothing(entry: Entry) -> bool:
    return not entry.flags & _IS_UTF8 and _name_beside(entry) is None


def _name_beside(entry: Entry) -> bytes | None:
    """None too for a field that was made for another name: a tool that does not know it has renamed the member."""
    field = entry.unicode_path
    if len(field) < 6 or field[0] != _UNICODE_PATH_VERSION:
        return None
    return field[5:] if int.from_bytes(field[1:5], "little") == zlib.crc32(entry.name) else None


def _is_surely_utf8(name: bytes) -> bool:
    return any(byte in _LONG_LEADS for byte in name)


def _utf8(name: bytes) -> str | None:
    return _decoded(name, UTF8)


def _decoded(name: bytes, encoding: str) -> str | None:
    try:
        return name.decode(encoding)
    except UnicodeDecodeError:
        return None
