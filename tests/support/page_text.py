"""What a page says: its title, its shown texts and its spoken ones. What is English in any language is left out."""

from __future__ import annotations

import re
from html.parser import HTMLParser

SAID_ATTRIBUTES = (
    "aria-label",
    "title",
    "placeholder",
    "alt",
    "data-title",
    "data-lost",
    "data-updated",
    "data-confirm",
)
# What a machine or a person wrote: names, ids, commands, a node's own output, what is marked as English.
_SKIPPED_TAGS = frozenset({"script", "style", "code", "kbd", "pre", "textarea", "noscript"})
_SKIPPED_CLASSES = frozenset({"mono", "log-lines", "tag", "errors-raw"})
_VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})


class PageText(HTMLParser):
    """`.said` after `feed`: each text, with its spaces as one."""

    def __init__(self, language: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self._language = language
        self._open: list[tuple[str, bool]] = []

    @property
    def _is_skipped(self) -> bool:
        return any(skipped for _tag, skipped in self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        skipped = self._skips(tag, given)
        if not skipped and not self._is_skipped:
            names = [*SAID_ATTRIBUTES, *(["value"] if given.get("type") in ("submit", "button") else [])]
            self._say(*(given[name] for name in names if name in given))
        if tag not in _VOID:
            self._open.append((tag, skipped))

    def handle_endtag(self, tag: str) -> None:
        while self._open and any(name == tag for name, _skipped in self._open):
            if self._open.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        if not self._is_skipped:
            self._say(data)

    def _skips(self, tag: str, given: dict[str, str]) -> bool:
        lang = given.get("lang", self._language) if tag != "html" else self._language
        return (
            tag in _SKIPPED_TAGS
            or bool(_SKIPPED_CLASSES & set(given.get("class", "").split()))
            or lang != self._language
        )

    def _say(self, *texts: str) -> None:
        self.said += filter(None, (re.sub(r"\s+", " ", text).strip() for text in texts))


def said(html: str, language: str) -> list[str]:
    reader = PageText(language)
    reader.feed(html)
    return reader.said
