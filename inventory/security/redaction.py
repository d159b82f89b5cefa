"""Keeps secrets and terminal tricks out of what people and programs read: logs, pages, answers, command output.

Secret here is: an Authorization or cookie header's value, the userinfo, query and fragment of a URL, what is named a
password, token or key, a private key, a token of ours (known by its prefix), and every value given to `register_secret`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from inventory.security import secret_urls
from inventory.security.registered_secrets import SHORTEST_SECRET, RegisteredSecrets
from inventory.security.secret_shapes import KEY_BEGINS, KEY_ENDS, MASK, mask_by_shape

__all__ = (
    "MASK", "SHORTEST_SECRET", "TOKEN_PREFIX", "LineScrubber", "clean_output", "clean_text", "ends_key", "redact_url",
    "register_secret", "scrub", "scrub_value",
)  # fmt: skip

# Every API token starts with this, so that it can be recognised wherever it turns up.
TOKEN_PREFIX = "rxt_"

_TOKEN = re.compile(re.escape(TOKEN_PREFIX) + r"[A-Za-z0-9_-]{6,}")
_registered = RegisteredSecrets()
_LONGEST_REMEMBERED = 200


def register_secret(value: str) -> None:
    """From now on `scrub` masks `value` in this process, in every spelling it knows. Too short: ignored."""
    _registered.add(value)


def redact_url(url: str) -> str:
    """`url` without userinfo, query and fragment. Never raises; what can't be read as a URL keeps nothing."""
    return _without_controls(secret_urls.redact_url(url))


def scrub(text: str, *, cut_before: bool = False, cut_after: bool = False) -> str:
    """`text` with everything secret replaced by a mask. Linear in the text's length.

    cut_before, cut_after: the text may begin or end in the middle of a registered secret; what is there of one goes too.
    """
    if cut_before or cut_after or len(text) > _LONGEST_REMEMBERED:
        return _scrubbed(text, cut_before=cut_before, cut_after=cut_after)
    return text if len(text) < SHORTEST_SECRET else _remembered(text, _registered.generation)


@lru_cache(maxsize=4_096)
def _remembered(text: str, _generation: int) -> str:
    """Names, versions and the like are scrubbed over and over. A secret that is registered later is looked for anew."""
    return _scrubbed(text)


def _scrubbed(text: str, *, cut_before: bool = False, cut_after: bool = False) -> str:
    # The registered ones first: another rule may take a part of one away, and would leave the rest unknown.
    text = _registered.mask(text, MASK, cut_before=cut_before, cut_after=cut_after)
    text = secret_urls.without_secrets(text)
    text = mask_by_shape(text)
    return _TOKEN.sub(MASK, text)


def scrub_value(value: Any) -> Any:
    """`value` with every text inside it scrubbed: strings, bytes, and mappings, lists and tuples of them."""
    match value:
        case str():
            return scrub(value)
        case bytes():
            return scrub(value.decode("utf-8", "replace"))
        case Mapping():
            return {key: scrub_value(item) for key, item in value.items()}
        case list():
            return [scrub_value(item) for item in value]
        case tuple():
            return tuple(scrub_value(item) for item in value)
        case BaseException():
            return scrub(f"{type(value).__name__}: {value}")
        case _:
            return value


class LineScrubber:
    """Scrubs one stream's lines in order: a private key spreads over several."""

    MOST_LINES = 200

    def __init__(self) -> None:
        self._lines_of_key = 0

    @property
    def is_within_key(self) -> bool:
        return self._lines_of_key > 0

    def scrub(self, line: str, *, cut_before: bool = False, cut_after: bool = False) -> str:
        if self._lines_of_key and not KEY_ENDS.search(line) and _KEY_LINE.fullmatch(line):
            self._lines_of_key = (self._lines_of_key + 1) % self.MOST_LINES
            return MASK if line.strip() else line
        self._lines_of_key = 1 if "-----BEGIN" in line and _leaves_open(line) else 0
        return scrub(line, cut_before=cut_before, cut_after=cut_after)


def ends_key(line: str) -> bool:
    """A private key ends in it that began before."""
    begin, end = KEY_BEGINS.search(line), KEY_ENDS.search(line)
    return end is not None and (begin is None or end.start() < begin.start())


def _leaves_open(line: str) -> bool:
    """A private key begins in it and does not end."""
    *_, begin = (None, *KEY_BEGINS.finditer(line))
    return begin is not None and not KEY_ENDS.search(line, begin.end())


# A line of base64, or of what stands before it in a key (RFC 1421, RFC 9580).
_KEY_LINE = re.compile(r"\s{0,64}(?:[A-Za-z0-9+/=]{0,128}|(?:Proc-Type|DEK-Info|Version|Comment): .{0,200})\s{0,64}")

# A terminal's escape sequences (ECMA-48): CSI; OSC, DCS, SOS, PM, APC with their strings; two-character escapes.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]{0,16}[0-~]?"
)
# Control characters but the tab, halves of a surrogate pair, what reorders or breaks a line on a page, and what nobody
# sees (Unicode's Default_Ignorable_Code_Point, but the selectors of an emoji's look; fillers and tags are among them).
_UNSAFE = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


def clean_output(output: bytes) -> str:
    """A line that came from a node, as text that is safe to show: see `clean_text`."""
    return clean_text(output.decode("utf-8", "replace"))


def clean_text(text: str) -> str:
    """`text` on one line: without escape sequences, control characters but tabs, and what is invisible or reorders."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub("", _ESCAPE.sub("", text))


def _without_controls(text: str) -> str:
    return _UNSAFE.sub("", text)
