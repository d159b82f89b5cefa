"""The environment file, read as systemd reads an `EnvironmentFile=`: no shell, nothing is expanded (systemd.exec(5)).

    # a comment, as is a line that begins with ;
    NAME=value with spaces, $, & and " inside    the spaces around it are no part of it
    NAME='quoted, over several lines too'        nothing inside is special
    NAME="quoted"                                \\" \\\\ \\` \\$ stand for themselves
    NAME=first \\
      second                                     a backslash at the end goes on with the next line

Whoever starts us (a unit, a person, a container) may give a variable too: what is set already wins.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

VARIABLE = "RELEASE_ENV_FILE"
USUAL = Path("/etc/release/env")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NEWLINE, WHITESPACE, COMMENT = "\n\r", " \t\n\r", "#;"
ESCAPED_IN_DOUBLE_QUOTES = '"\\`$'


class EnvFileError(Exception):
    """The message says what is wrong with which file; it holds no value."""


def load() -> None:
    """Puts what the file says into `os.environ`. Raises EnvFileError."""
    path = chosen()
    if path is None:
        return
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        if not os.environ.get(VARIABLE) and os.environ.get("DATABASE_URL"):
            return  # systemd has read it, as root
        raise EnvFileError(f"names {path}, which cannot be read ({error.strerror}){_advice(error)}") from None
    except UnicodeDecodeError:
        raise EnvFileError(f"names {path}, which is not UTF-8 text") from None
    for name, value in parse(text).items():
        os.environ.setdefault(name, value)


def chosen() -> Path | None:
    given = os.environ.get(VARIABLE, "").strip()
    if given:
        return Path(given).expanduser()
    return USUAL if USUAL.exists() else None


def _advice(error: OSError) -> str:
    is_closed = isinstance(error, PermissionError)
    return f": run it as the account of the service or as root, or set {VARIABLE} to another file" if is_closed else ""


def parse(text: str) -> dict[str, str]:
    """What is no NAME=value is passed over, as systemd does."""
    return {name: value for name, value in assignments(text) if NAME.fullmatch(name) and "\0" not in value}


def passed_over(text: str) -> list[str]:
    """The names that are none, such as `export NAME`: a file written for a shell."""
    return [name for name, _ in assignments(text) if not NAME.fullmatch(name)]


def assignments(text: str) -> list[tuple[str, str]]:
    found = []
    reader = _Reader(text)
    while reader.skip_to_key():
        name = reader.key()
        if name is not None:
            found.append((name, reader.value()))
    return found


class _Reader:
    """After systemd's src/basic/env-file.c, of version 254 and later where those before differ (a comment's last backslash)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def _next(self) -> str:
        """'' at the end, and from then on."""
        character = self._text[self._at : self._at + 1]
        self._at += 1
        return character

    def skip_to_key(self) -> bool:
        """Over white space and comments; False at the end."""
        while character := self._next():
            if character in COMMENT:
                self._skip_line()
            elif character not in WHITESPACE:
                self._at -= 1
                return True
        return False

    def _skip_line(self) -> None:
        while (character := self._next()) and character not in NEWLINE:
            pass

    def key(self) -> str | None:
        """None when the line has no `=`."""
        start = self._at
        while character := self._next():
            if character in NEWLINE:
                return None
            if character == "=":
                return self._text[start : self._at - 1].rstrip(WHITESPACE)
        return None

    def value(self) -> str:
        """Quoted parts, then perhaps an unquoted one, which goes to the end of its line."""
        parts = []
        while (character := self._next()) and character not in NEWLINE:
            if character == "'":
                parts.append(self._single_quoted())
            elif character == '"':
                parts.append(self._double_quoted())
            elif character not in WHITESPACE:
                self._at -= 1
                parts.append(self._unquoted())
                break
        return "".join(parts)

    def _single_quoted(self) -> str:
        start = self._at
        while (character := self._next()) and character != "'":
            pass
        return self._text[start : self._at - 1]

    def _double_quoted(self) -> str:
        kept = ""
        while (character := self._next()) and character != '"':
            if character == "\\":
                character = self._next()
                if character not in ESCAPED_IN_DOUBLE_QUOTES:
                    kept += "" if character == "\n" else f"\\{character}"
                    continue
            kept += character
        return kept

    def _unquoted(self) -> str:
        """White space at the end is left away unless a backslash stands before it."""
        kept, keep_to = "", 0
        while (character := self._next()) and character not in NEWLINE:
            is_escaped = character == "\\"
            if is_escaped:
                character = self._next()
                character = "" if character in NEWLINE else character
            kept += character
            if is_escaped or character not in WHITESPACE:
                keep_to = len(kept)
        return kept[:keep_to]
