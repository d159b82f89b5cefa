"""Sentences that are stored and told in the language of whoever reads them.

A sentence is a msgid of the catalogue and the facts in it. It is kept twice: in English, for programs and for releases
that know nothing else, and as JSON beside it, of which a page makes the reader's language. Free of Django at import, like
`deploys.error_codes`: the process that reads an archive runs without it (`deploys.packages.repack_process`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Fact = str | int
# What ends a sentence in Chinese takes the room of the space after it.
_FULL_WIDTH_ENDS = ("。", "；", "：", "，", "！", "？")


def marked(text: str) -> str:
    """Marks a msgid for the catalogue, imported as `_`; it is translated when it is read."""
    return text


@dataclass(frozen=True)
class Told:
    """One sentence. text: a marked msgid with `%(name)s` for each fact; a percent sign in it is written `%%`."""

    text: str
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text % self.facts


# Sentences that are read one after the other.
Telling = Sequence[Told]


def verbatim(text: str) -> Told:
    """What somebody else has said, the same in each language: a tool, a node, a person."""
    return Told("%(said)s", {"said": text})


def english(told: Telling) -> str:
    return _joined(str(sentence) for sentence in told)


def stored(message: str | Telling, clean: Callable[[str], str]) -> tuple[str, list[dict[str, Any]] | None]:
    """(English, sentences) as two columns keep it, every fact cleaned; of a text alone there are no sentences."""
    if isinstance(message, str):
        return clean(message), None
    told = [_with_facts(each, clean) for each in message]
    return clean(english(told)), to_json(told)


def _with_facts(told: Told, clean: Callable[[str], str]) -> Told:
    return Told(told.text, {name: clean(fact) if isinstance(fact, str) else fact for name, fact in told.facts.items()})


def to_json(told: Telling) -> list[dict[str, Any]] | None:
    return [{"text": each.text, "facts": dict(each.facts)} for each in told] or None


def said(told: object, english: str) -> str:
    """A stored message in the active language.

    told: its sentences, or None. english: its text, which is the answer unless the sentences are this very text's: a release
    that knows nothing of them may have written another one beside them.
    """
    from django.utils.translation import gettext

    return _sentences(told, gettext) if told and _sentences(told, str) == english else english


def _sentences(told: Any, translate: Callable[[str], str]) -> str:
    try:
        return _joined(translate(each["text"]) % each["facts"] for each in told)
    except (KeyError, TypeError, ValueError):
        return ""


def _joined(sentences: Iterable[str]) -> str:
    text = ""
    for sentence in sentences:
        gap = " " if text and sentence and not text.endswith(_FULL_WIDTH_ENDS) else ""
        text += gap + sentence
    return text
