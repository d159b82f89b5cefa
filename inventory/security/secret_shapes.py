"""Recognises secrets in a text by what stands around them or what they look like: headers, `password=`, keys, tokens.

Every rule takes time linear in the text's length: repetitions are bounded, or what they pass over is used up.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MASK = "[redacted]"

# A quote as languages write it inside their own quotes: \" or \\\".
_QUOTE = r"\\{0,7}[\"']"
_HEADER = re.compile(
    rf"(?i)(?P<around>{_QUOTE})?(?<![a-z0-9])(?:proxy-|set-)?(?:authorization|cookie2?)(?P<closed>{_QUOTE})?"
    rf"(?:\s{{0,8}}[:=]>?\s{{0,8}}(?:\[(?!redacted\]))?|(?<=[\"'])\s{{0,8}},\s{{0,8}}(?:{_QUOTE}value{_QUOTE}\s{{0,8}}:\s{{0,8}})?)"
    rf"(?P<quote>{_QUOTE})?"
)
# One word says it all for these; other schemes (Digest, AWS4-HMAC-SHA256) have parts up to the line's end.
_ONE_WORD = re.compile(r"(?i)(?:basic|bearer|negotiate|ntlm|apikey)\s{1,8}[^\s\"',;\]}]+")
_SCHEME = re.compile(r"(?i)\b(?:digest\s{1,8}(?=[a-z]{1,16}=)|aws4-hmac-sha256\s{1,8}(?=credential=))")
_BEARER = re.compile(
    r"(?i)\b(bearer|basic)\s{1,8}(?=[a-z._~+/-]{0,200}(?:[0-9=]|(?-i:[a-z][A-Z])))[A-Za-z0-9._~+/=-]{8,}"
)

# Names whose value is a secret whatever it looks like; and words that stand in ordinary sentences too.
_SURE = r"pass(?:word|wd|phrase|code)|secret|(?:api|access|secret|private|account|shared|master|encryption)[-_ ]?key"
_WEAK = r"token|signature|credentials?|auth|pwd"
_NAMED = re.compile(
    rf"(?i)(?:(?P<sure>{_SURE})|(?P<weak>{_WEAK})|(?<![a-z0-9])sig(?==))"
    rf"(?P<between>(?P<closed>{_QUOTE})?\s{{0,8}}(?P<sign>=>?|:)\s{{0,8}})(?P<quote>{_QUOTE})?"
)
_OPTION = re.compile(
    rf"(?i)(?<![\w-])(?:--[a-z0-9-]{{0,40}}?(?:{_SURE}|token|credentials?|cookie)\s{{1,8}}(?!-)"
    rf"|(?:-u|--user|--proxy-user)(?:\s{{1,8}}|=)(?=[\"']?[^\s:\"']{{1,100}}:)|\bsshpass\s{{1,8}}-p\s{{0,8}})"
    rf"(?P<quote>{_QUOTE})?"
)
# Sentences about an option; and what stands for a value, or for none.
_PROSE = re.compile(r"(?i)(?:to|is|are|or|and|for|with|in|on|as|option|options|flag|argument|must|may|can|was)\b")
_NO_SECRET = re.compile(
    r"(?:\$\{?[A-Z_][A-Z0-9_]*\}?|\$\{\{[^}]*\}\}|\*{3,}|<[^>]*>|\[redacted\]|(?i:null|none|nil|true|false|undefined)"
    r"|[A-Za-z_][A-Za-z0-9_.]*\([^\"']*)[,;.)\]}]*"
)
_LOOKS_RANDOM = re.compile(r"(?=\D*\d)\S{8,}")
_WORD = re.compile(r"[^\s\"'<>`]+")
# A longer value is a secret without a look at it: to look at each repeatedly would take quadratic time.
_LONGEST_LOOKED_AT = 200
# `max_token=512`, `token=42`: a count, not a key.
_LONGEST_COUNT = 6
_LINE_END = re.compile(r"\r?\n|(?:\\r)?\\n(?![a-z])")
_GLUED = re.compile(r"(?:\"[^\"]{0,999}\"|'[^']{0,999}'|[^\s,;:)\]}>&\"'])*")

_TOKENS = re.compile(
    r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*"
    r"|\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{10,}"
    r"|npm_[A-Za-z0-9]{30,}|sk_live_[A-Za-z0-9]{16,}|AIza[A-Za-z0-9_-]{30,})"
)
# One of these is in whatever the pattern of that name finds.
_NAME_WORDS = ("pass", "secret", "key", "token", "signature", "credential", "auth", "pwd", "sig=")
_OPTION_WORDS = ("--", "-u", "sshpass")
_TOKEN_WORDS = ("eyJ", "gh", "github_pat_", "glpat-", "xox", "npm_", "sk_live_", "AIza")
KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")

# Where the value ends that begins at the match's end; None: it is no secret.
_End = Callable[[re.Match[str], str], int | None]


def mask_by_shape(text: str) -> str:
    """`text` with every secret that its shape or its surroundings give away replaced by MASK."""
    lowered = text.lower()
    if "-----begin" in lowered:
        text = _without_keys(text)
    if "authorization" in lowered or "cookie" in lowered:
        text = _masked(text, _HEADER, _header_ends)
    if "digest" in lowered or "aws4" in lowered:
        text = _masked(text, _SCHEME, lambda match, whole: _line_ends(whole, match.end()))
    if "bearer" in lowered or "basic" in lowered:
        text = _BEARER.sub(rf"\1 {MASK}", text)
    if ("=" in text or ":" in text) and _holds(lowered, _NAME_WORDS):
        text = _masked(text, _NAMED, _named_ends)
    if _holds(lowered, _OPTION_WORDS):
        text = _masked(text, _OPTION, _option_ends)
    return _TOKENS.sub(MASK, text) if _holds(text, _TOKEN_WORDS) else text


def _holds(text: str, words: tuple[str, ...]) -> bool:
    """Most lines hold none, and to see that is much quicker than to try the pattern at every character."""
    return any(word in text for word in words)


def _masked(text: str, pattern: re.Pattern[str], ends: _End) -> str:
    """A mask in place of each value that begins where the pattern's match ends."""
    pieces: list[str] = []
    at = 0
    for match in pattern.finditer(text):
        end = ends(match, text) if match.start() >= at else None
        if end is not None and end > match.end():
            pieces += (text[at : match.end()], MASK)
            at = end
    return "".join((*pieces, text[at:])) if pieces else text


def _without_keys(text: str) -> str:
    """A private key's own lines, up to where it ends, or all that is left."""
    return _masked(text, KEY_BEGINS, _key_ends)


def _key_ends(match: re.Match[str], text: str) -> int:
    end = KEY_ENDS.search(text, match.end())
    return end.start() if end else len(text)


def _header_ends(match: re.Match[str], text: str) -> int:
    start = match.end()
    if text.startswith(MASK, start):
        return start + len(MASK)
    quote = match["quote"] or (None if match["closed"] else match["around"])
    if quote and (end := _closing(text, start, quote)) is not None:
        return end
    if "cookie" not in match[0].lower() and (word := _ONE_WORD.match(text, start)):
        return word.end()
    return _line_ends(text, start)


def _named_ends(match: re.Match[str], text: str) -> int | None:
    start, quote = match.end(), match["quote"]
    end = _quoted_ends(text, start, quote) if quote else _word_ends(text, start)
    is_short = end - start <= _LONGEST_LOOKED_AT
    return None if is_short and _is_no_secret(match, text, text[start:end]) else _glued(text, end, quote)


def _is_no_secret(match: re.Match[str], text: str, value: str) -> bool:
    if not value or _NO_SECRET.fullmatch(value):
        return True
    if not match["weak"]:
        return False
    if match["weak"].lower() == "pwd" and value.startswith("/"):
        return True
    if len(value) <= _LONGEST_COUNT and value.rstrip(",;.)").isdigit():
        return True
    return match["sign"] == ":" and not _is_key(match, text) and not _LOOKS_RANDOM.match(value)


def _is_key(match: re.Match[str], text: str) -> bool:
    """`"token":`, `X-Vault-Token:`, `accessToken:`; and not `unexpected token:`, as sentences have it."""
    return bool(match["closed"]) or (
        match.start() > 0 and (text[match.start() - 1].isalnum() or text[match.start() - 1] in "-_")
    )


def _option_ends(match: re.Match[str], text: str) -> int | None:
    start, quote = match.end(), match["quote"]
    if not quote and _PROSE.match(text, start):
        return None
    end = _quoted_ends(text, start, quote) if quote else _word_ends(text, start)
    is_short = end - start <= _LONGEST_LOOKED_AT
    return None if is_short and _NO_SECRET.fullmatch(text, start, end) else _glued(text, end, quote)


def _word_ends(text: str, start: int) -> int:
    word = _WORD.match(text, start)
    return word.end() if word else start


def _quoted_ends(text: str, start: int, quote: str) -> int:
    end = _closing(text, start, quote)
    return _line_ends(text, start) if end is None else end


def _glued(text: str, end: int, quote: str | None) -> int:
    """Past what a shell takes for the same word: 'it'"'"'s'."""
    if not quote or not text.startswith(quote, end):
        return end
    tail = _GLUED.match(text, end + len(quote))
    return tail.end() if tail and tail[0] else end


def _closing(text: str, start: int, quote: str) -> int | None:
    """Where the quote stands that closes a value; one behind a backslash does not."""
    at = text.find(quote, start)
    while at > 0 and text[at - 1] == "\\":
        at = text.find(quote, at + 1)
    return at if at >= 0 else None


def _line_ends(text: str, start: int) -> int:
    """Where the line ends, be its end written out as an escape."""
    end = _LINE_END.search(text, start)
    return end.start() if end else len(text)
