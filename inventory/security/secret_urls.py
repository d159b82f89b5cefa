"""Takes what is secret out of URLs: userinfo, query and fragment, in whatever spelling the URL stands in a text."""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

UNREADABLE = "(unreadable URL)"

_PARTS = re.compile(r"(?s)(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(.*)")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.%]*\]|[^:\[\]]*)(?::[0-9]*)?(?:,[^:\[\]]*(?::[0-9]*)?)*")
_SCHEME = r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,31}"
_COLON = r"(?::|%(?:25){0,4}3[aA]|\\{1,8}u003[aA]|&#(?:x3[aA]|58);)"
_SLASH = r"(?:\\{0,8}/|%(?:25){0,4}2[fF]|\\{1,8}u002[fF]|&#(?:x2[fF]|47);)"
_BEGIN = re.compile(rf"{_SCHEME}{_COLON}{_SLASH}{_SLASH}")
_URL = re.compile(rf"{_BEGIN.pattern}[^\s\"'<>`]*")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}|\\|&(?:#\w{1,8}|amp|lt|gt|quot|apos|sol|colon|commat);")
_UNICODE = re.compile(r"\\+u([0-9A-Fa-f]{4})")
# `//user:password@host`, and what a typing error has made of a URL: `http:/user:password@host`.
_USERINFO = re.compile(
    r"(?<![A-Za-z0-9:/\\])(?P<kept>//)[^\s/@\"'<>]{1,512}@"
    rf"|(?P<begin>{_SCHEME}:/{{1,8}})[^\s/@:\"'<>]{{0,256}}:[^\s/@\"'<>]{{1,256}}@"
)


def redact_url(url: str) -> str:
    """`url` without userinfo, query and fragment. Never raises; what can't be read as a URL keeps nothing."""
    match = _PARTS.fullmatch(url.strip())
    scheme, authority, path, _rest = match.groups() if match else (None, None, "", "")
    if not authority:
        # Without a host (`http:/user:password@host/`), whatever stands before an @ may be userinfo.
        return path.rpartition("@")[2]
    host = authority.rpartition("@")[2]
    if _HOST.fullmatch(host):
        return f"{scheme}://{host}{path}" if scheme else f"{host}{path}"
    # A password may hold what should have been escaped: `u:pa/ss@host`.
    before, at, after = url.rpartition("@")
    return f"{scheme}://{after.partition('?')[0].partition('#')[0]}" if at and ":" in before else UNREADABLE


def without_secrets(text: str) -> str:
    """`text` with its URLs so redacted. What holds nothing secret stays as it is written."""
    if "/" in text or "%2" in text or "2f;" in text.lower() or "u002" in text:
        text = _URL.sub(_shown, text)
        text = _USERINFO.sub(lambda match: match["kept"] or match["begin"], text)
    return text


def _shown(match: re.Match[str]) -> str:
    """Of a run without a blank, which may be several URLs with commas between them."""
    run = match[0]
    begins = [found.start() for found in _BEGIN.finditer(run)]
    pieces = [run[begin:end] for begin, end in zip(begins, [*begins[1:], len(run)], strict=True)]
    return "".join(_shown_alone(piece) for piece in pieces)


def _shown_alone(written: str) -> str:
    url = _unescaped(written)
    parts = _PARTS.fullmatch(url)
    authority, rest = (parts[2] or "", parts[4]) if parts else ("", "")
    is_odd = "@" in url and not _HOST.fullmatch(authority)
    return redact_url(url) if "@" in authority or is_odd or len(rest) > 1 else written


def _unescaped(written: str) -> str:
    """Several layers of escapes undone."""
    for _ in range(4):
        if not _ESCAPE.search(written):
            break
        plain = _UNICODE.sub(lambda match: chr(int(match[1], 16)), written)
        plain = html.unescape(unquote(plain)).replace("\\", "")
        if plain == written:
            break
        written = plain
    return written
