"""A registered secret does not come out: in whatever spelling, wherever in a line, and wherever that line is cut."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inventory.security import redaction
from inventory.security.redaction import MASK, scrub
from inventory.security.registered_secrets import SHORTEST_SECRET, RegisteredSecrets


def each(spell: Callable[[str], str]) -> Callable[[str], list[str]]:
    """A spelling that writes one character after the other."""
    return lambda secret: [spell(character) for character in secret]


def percent_all(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def as_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def unicode_escaped(text: str) -> str:
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def base64_behind(before: bytes, *, urlsafe: bool = False) -> Callable[[str], list[str]]:
    """The first and the last piece hold what is not of the secret, or not of it alone."""

    def spell(secret: str) -> list[str]:
        encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
        encoded = encode(before + secret.encode() + b"after").decode()
        start, end = -(-8 * len(before) // 6), 8 * (len(before) + len(secret.encode())) // 6
        return [encoded[:start], *encoded[start:end], encoded[end:]]

    return spell


def hexadecimal(secret: str) -> list[str]:
    return [f"{byte:02x}" for byte in secret.encode()]


SPELLINGS: dict[str, Callable[[str], list[str]]] = {
    "as it is": each(str),
    "percent": each(lambda c: quote(c)),
    "percent, slashes too": each(lambda c: quote(c, safe="")),
    "percent, lower case": each(lambda c: quote(c, safe="").lower() if c not in "ABCDEFXYZ" else c),
    "percent, a blank as a plus": each(quote_plus),
    "percent, every character": each(percent_all),
    "percent, twice": each(lambda c: quote(quote(c, safe=""), safe="")),
    "JSON": each(as_json),
    "JSON, not only ASCII": each(lambda c: json.dumps(c, ensure_ascii=False)[1:-1]),
    "JSON of PHP": each(lambda c: as_json(c).replace("/", "\\/")),
    "JSON, every character escaped": each(unicode_escaped),
    "JSON in JSON": each(lambda c: as_json(as_json(c))),
    "JSON, percent": each(lambda c: quote(as_json(c), safe="")),
    "Python": each(lambda c: repr(c)[1:-1]),
    "HTML": each(html.escape),
    "HTML, every character": each(lambda c: f"&#{ord(c)};"),
    "HTML, hexadecimal": each(lambda c: f"&#x{ord(c):x};"),
    "HTML, twice": each(lambda c: html.escape(html.escape(c))),
    "JSON in HTML": each(lambda c: html.escape(as_json(c))),
    "shell": each(lambda c: "'\"'\"'" if c == "'" else c),
    "shell, another way": each(lambda c: "'\\''" if c == "'" else c),
    "shell, backslashes": each(lambda c: c if c.isalnum() else f"\\{c}"),
    "CSV": each(lambda c: '""' if c == '"' else c),
    "YAML": each(lambda c: "''" if c == "'" else c),
    "base64": base64_behind(b""),
    "base64 of a login": base64_behind(b"user:"),
    "base64 of another": base64_behind(b"someone:"),
    "base64, for URLs": base64_behind(b"id:", urlsafe=True),
    "base64, percent": lambda secret: [quote(c, safe="") for c in base64_behind(b"user:")(secret)],
    "hexadecimal": hexadecimal,
    "hexadecimal, upper case": lambda secret: [digits.upper() for digits in hexadecimal(secret)],
}
# Four of its characters hold three bytes.
OF_BASE64 = 4
ALPHABET = "abcXYZ019 /+%&=\"'\\$<>;#?.~é发😀"
# One that looks like an escape itself is looked for as well, but a half of it may be four characters.
SECRETS = st.text(ALPHABET, min_size=SHORTEST_SECRET, max_size=40).filter(
    lambda secret: len(re.sub(r"[\\'\"]", "", secret)) >= SHORTEST_SECRET and html.unescape(unquote(secret)) == secret
)
AROUND = st.text("·¤§ \t-_|", max_size=40)


def with_secret(secret: str) -> Iterator[None]:
    registered = RegisteredSecrets()
    registered.add(secret)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(redaction, "_registered", registered)
        yield


def leaks(name: str, secret: str, pieces: list[str], shown: str) -> list[str]:
    """More than three characters in a row of the spelled secret. Quotes and backslashes don't count: nobody's secret is those."""
    counts = [name.startswith(("base64", "hex")) or character not in "\\'\"" for character in secret.ljust(len(pieces))]
    most = OF_BASE64 if name.startswith("base64") else 3
    inner = range(1, len(pieces) - 1) if name.startswith("base64") else range(len(pieces))
    runs = (
        "".join(pieces[start : _end_of_run(start, counts, most)])
        for start in inner
        if sum(counts[start : inner.stop]) > most
    )
    return [run for run in runs if run in shown]


def _end_of_run(start: int, counts: list[bool], most: int) -> int:
    end = start
    while sum(counts[start:end]) <= most:
        end += 1
    return end


@pytest.mark.parametrize("name", SPELLINGS)
@settings(max_examples=40)
@given(SECRETS, AROUND, AROUND, st.floats(0, 1))
@example("p/w &1234+'\"\\x", "·", "·", 0.5)
def test_no_spelling_comes_out_whole_or_in_halves(
    name: str, secret: str, before: str, after: str, where: float
) -> None:
    pieces = SPELLINGS[name](secret)
    text = f"{before}{''.join(pieces)}{after}"
    cut = round(where * len(text))
    for _ in with_secret(secret):
        whole = scrub(text)
        halves = scrub(text[:cut], cut_after=True) + "\n" + scrub(text[cut:], cut_before=True)

    assert MASK in whole
    assert not leaks(name, secret, pieces, whole), whole
    assert not leaks(name, secret, pieces, halves), halves


def test_what_stands_around_it_stays() -> None:
    for _ in with_secret("p/w &1234"):
        assert scrub('say "p/w &1234", then p%2Fw%20%261234!') == f'say "{MASK}", then {MASK}!'
        assert scrub("https://h/p/w&1234") == "https://h/p/w&1234"
        assert scrub("https://u:p/w &1234@h/x y") == "https://h/x y"


@pytest.mark.parametrize("odd", ["000%00", "'\"'\"'\"", "\\\\\\\\\\\\", "&amp;&lt;"])
def test_one_of_quotes_and_escapes_alone_is_masked_too(odd: str) -> None:
    for _ in with_secret(odd):
        for written in (odd, quote(odd, safe=""), json.dumps(odd)[1:-1]):
            assert scrub(f"· {written} ·") == f"· {MASK} ·"


def test_the_longer_of_two_is_masked_whole() -> None:
    registered = RegisteredSecrets()
    registered.add("abcdef")
    registered.add("xabcdefy")

    assert registered.mask("xabcdefy abcdef", MASK) == f"{MASK} {MASK}"


def test_two_that_overlap_leave_nothing_of_either() -> None:
    registered = RegisteredSecrets()
    registered.add("abcdabcd")

    assert registered.mask("abcdabcdabcd", MASK) == MASK


@pytest.mark.parametrize("short", ["", "abc", "12345"])
def test_short_ones_are_not_masked(short: str) -> None:
    registered = RegisteredSecrets()
    registered.add(short)

    assert registered.mask("abc 12345", MASK) == "abc 12345"


def test_an_innocent_line_is_only_masked_where_it_is_known_to_be_cut() -> None:
    for _ in with_secret("release-9f3kq"):
        assert scrub("a new release") == "a new release"
        assert scrub("a new release", cut_after=True) == f"a new {MASK}"


@pytest.mark.parametrize(
    "unit",
    ["a", "%", "%25", "%41", "%2541", "\\", "\\\\u0041", "%5Cu0041", "&", "&amp;", "&#65;", "'", "aaaaab", "aaaaaa"],
)
def test_it_takes_linear_time_with_many_secrets(unit: str) -> None:
    """By processor time: the machine may be busy."""
    registered = RegisteredSecrets()
    for number in range(20):
        registered.add(f"secret number {number}")
    registered.add("aaaaab")
    text = unit * (1_000_000 // len(unit))
    began = time.process_time()
    registered.mask(text, MASK, cut_before=True, cut_after=True)
    assert time.process_time() - began < 3


def test_the_shell_spelling_is_what_the_standard_library_writes() -> None:
    secret = "it's $HOME `x`"

    for _ in with_secret(secret):
        assert secret[:6] not in scrub(f"run {shlex.quote(secret)} now")


def test_a_secret_that_is_registered_later_is_masked_in_what_was_scrubbed_before() -> None:
    text = "the node is called Rosinante-7741"
    assert scrub(text) == text
    redaction.register_secret("Rosinante-7741")
    assert scrub(text) == f"the node is called {MASK}"
