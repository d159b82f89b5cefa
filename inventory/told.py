"""Sentences as a msgid of the catalogue and the facts in it, so that each reader gets them in their language.

Free of Django: the process that reads an archive runs without it (`deploys.packages.repack_process`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# What ends a sentence in Chinese takes the room of the space after it.
_FULL_WIDTH_ENDS = ("。", "；", "：", "，", "！", "？")


def marked(text: str) -> str:
    """Marks a msgid for the catalogue, imported as `_`; it is translated when it is read."""
    return text


@dataclass(frozen=True)
class Told:
    """One sentence, or a part of one. text: a marked msgid with `%(name)s` for each fact; a percent sign is `%%` in it.

    A fact may be told itself: a clause, a cause.
    """

    text: str
    facts: Mapping[str, str | int | Told] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text % self.facts


Facts = dict[str, str | int | Told]
# Sentences that are read one after the other.
Telling = Sequence[Told]


def verbatim(text: str) -> Told:
    """What somebody else has said, the same in each language: a tool, a node, a person."""
    return Told("%(said)s", {"said": text})


def english(told: Telling) -> str:
    return joined(str(sentence) for sentence in told)


def joined(sentences: Iterable[str]) -> str:
    text = ""
    for sentence in sentences:
        gap = " " if text and sentence and not text.endswith(_FULL_WIDTH_ENDS) else ""
        text += gap + sentence
    return text


def to_json(told: Telling) -> list[dict[str, Any]] | None:
    return [_record(each) for each in told] or None


def _record(told: Told) -> dict[str, Any]:
    facts = {name: _record(fact) if isinstance(fact, Told) else fact for name, fact in told.facts.items()}
    return {"text": told.text, "facts": facts}


def from_json(records: Any) -> Telling:
    """The inverse of `to_json`."""
    return tuple(_told(each) for each in records)


def _told(record: dict[str, Any]) -> Told:
    return Told(record["text"], {name: _told(f) if isinstance(f, dict) else f for name, f in record["facts"].items()})
