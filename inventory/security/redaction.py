"""Keeps secrets and terminal tricks out of what people and programs read: logs, pages, answers, command output.

Secret here is: an Authorization or cookie header's value, the userinfo, query and fragment of a URL, a token of ours
(known by its prefix), and every value given to `register_secret`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

MASK = "[redacted]"
# Every API token starts with this, so that it can be recognised wherever it turns up.
TOKEN_PREFIX = "rxt_"
# Shorter values would blank out everyday words.
SHORTEST_SECRET = 6

_TOKEN = re.compile(re.escape(TOKEN_PREFIX) + r"[A-Za-z0-9_-]{6,}")
_URL = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s\"'<>`]+")
_HEADER = re.compile(
    r"(?i)(\b(?:proxy-)?authorization|\b(?:set-)?cookie|\bx-api-key|\bx-auth-token)"
    r"(['\"]?\s{0,8}[:=]\s{0,8}['\"]?)([^\s'\",;]+(?:\s[^\s'\",;]+)?)"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s{1,8}[A-Za-z0-9._~+/=-]{8,}")

_registered: frozenset[str] = frozenset()
_registered_pattern: re.Pattern[str] | None = None


def redact_url(url: str) -> str:
    """`url` without userinfo, query and fragment. Never raises; what can't be read as a URL keeps nothing."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable URL)"
    host = parts.netloc.rpartition("@")[2]
    # Without a host (`http:/user:password@host/`), whatever stands before an @ may be userinfo.
    path = parts.path if host else parts.path.rpartition("@")[2]
    prefix = f"{parts.scheme}://" if host and parts.scheme else ""
    return _without_controls(f"{prefix}{host}{path}")


def scrub(text: str) -> str:
    """`text` with everything secret replaced by a mask. Linear in the text's length."""
    if "://" in text:
        text = _URL.sub(lambda match: redact_url(match[0]), text)
    text = _HEADER.sub(rf"\1\2{MASK}", text)
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _TOKEN.sub(MASK, text)
    if _registered_pattern is not None:
        text = _registered_pattern.sub(MASK, text)
    return text


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


def register_secret(value: str) -> None:
    """From now on `scrub` masks `value`, in this process, also where it is percent-encoded. Too short: ignored."""
    global _registered, _registered_pattern
    if len(value) < SHORTEST_SECRET:
        return
    registered = _registered | {value, quote(value), quote(value, safe=""), quote_plus(value)}
    # The longest first, so that a secret that contains another is masked whole.
    alternatives = sorted(registered, key=len, reverse=True)
    _registered_pattern = re.compile("|".join(re.escape(secret) for secret in alternatives))
    _registered = registered


# A terminal's escape sequences (ECMA-48): CSI; OSC, DCS, SOS, PM, APC with their strings; two-character escapes.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,16}[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]{0,16}[0-~]?"
)
# Control characters but the tab, and the invisible ones that reorder or break a line on a page.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def clean_output(output: bytes) -> str:
    """A line a command printed, as text that is safe to show: no escape sequences, no control characters but tabs."""
    return _CONTROL.sub("", _ESCAPE.sub("", output.decode("utf-8", "replace")))


def _without_controls(text: str) -> str:
    return _CONTROL.sub("", text)
