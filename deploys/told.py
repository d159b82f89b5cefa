"""Sentences that are stored and told in the language of whoever reads them (`inventory.told`).

A message is kept twice: in English, for programs and for releases that know nothing else, and as JSON beside it, of which a
page makes the reader's language. Free of Django at import, like `deploys.error_codes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inventory.security.redaction import scrub
from inventory.told import Facts, Telling, Told, english, from_json, joined, marked, to_json, verbatim

__all__ = (
    "Facts",
    "Telling",
    "Told",
    "english",
    "from_json",
    "joined",
    "marked",
    "read",
    "said",
    "stored",
    "to_json",
    "verbatim",
)

LONGEST_TEXT = 64 * 1024


def stored(message: str | Telling) -> tuple[str, list[dict[str, Any]] | None]:
    """(English, sentences) as two columns keep it, every fact made safe; of a text alone there are no sentences."""
    if isinstance(message, str):
        return _safe(message), None
    told = [_with_safe_facts(each) for each in message]
    return _safe(english(told)), to_json(told)


def _safe(text: str) -> str:
    """`text` as PostgreSQL can store it: without secrets, NUL and lone surrogates, and no longer than is of use to anybody.

    What a node, a command or a library says comes through here before it is written.
    """
    whole = scrub(text).replace("\x00", "").encode("utf-8", "replace").decode()
    if len(whole) <= LONGEST_TEXT:
        return whole
    return f"{whole[:LONGEST_TEXT]} … [{len(whole) - LONGEST_TEXT:,} more characters]"


def _with_safe_facts(told: Told) -> Told:
    def safe(fact: str | int | Told) -> str | int | Told:
        match fact:
            case Told():
                return _with_safe_facts(fact)
            case str():
                return _safe(fact)
            case _:
                return fact

    return Told(told.text, {name: safe(fact) for name, fact in told.facts.items()})


def said(told: object, english: str) -> str:
    """A stored message in the active language.

    told: its sentences, or None. english: its text, which is the answer unless the sentences are this very text's: a release
    that knows nothing of them may have written another one beside them.
    """
    from django.utils.translation import get_language, gettext

    if not told or (get_language() or "en").startswith("en") or _sentences(told, str) != english:
        return english
    return _sentences(told, gettext)


def _sentences(told: Any, translate: Callable[[str], str]) -> str:
    try:
        return joined(_one(each, translate) for each in told)
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""


def _one(told: Any, translate: Callable[[str], str]) -> str:
    facts = {name: _one(fact, translate) if isinstance(fact, dict) else fact for name, fact in told["facts"].items()}
    return translate(told["text"]) % facts


def read(told: object, english: str) -> Telling:
    """What `to_json` made, to be told again; its English alone where that is not known."""
    if not told or _sentences(told, str) != english:
        return (verbatim(english),)
    return from_json(told)
