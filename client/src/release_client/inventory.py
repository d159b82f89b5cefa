"""The inventory document in a file: YAML as people keep it, and what pushing it would change."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from release_client.answers import Document
from release_client.errors import Misused

# Each list's entries, by what names them.
NAMED_BY = {"services": "name", "jump_hosts": "name", "nodes": "name", "instances": "instance_id"}
# libyaml's where it is there: ten thousand instances in a blink.
_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_ETAG_LINE = re.compile(r"\A# etag: (\S+)\n")


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """etag: of the inventory that the document was taken from, or None."""

    document: Document
    etag: str | None

    def to_yaml(self) -> str:
        """Its first line is a comment with the ETag, so that a push finds out whether somebody was faster."""
        head = f"# etag: {self.etag}\n" if self.etag else ""
        return head + _dump(self.document)

    @classmethod
    def from_yaml(cls, text: str, *, filename: str) -> Inventory:
        """Raises Misused. What an entry may say, the server knows."""
        try:
            document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
        except yaml.YAMLError as error:
            raise Misused(f"{filename} is not YAML: {error}") from error
        if not isinstance(document, dict):
            raise Misused(f"{filename} must hold a mapping with {', '.join(NAMED_BY)}.")
        match = _ETAG_LINE.match(text)
        return cls(document=document, etag=match[1] if match else None)


def with_etag(text: str, etag: str) -> str:
    """The same file, for a next push; one that bore no ETag stays without."""
    return _ETAG_LINE.sub(lambda _: f"# etag: {etag}\n", text)


def difference(before: Document, wanted: Document) -> Iterator[str]:
    """A unified diff, entry by entry, of what would be after a push; entries and keys that `wanted` leaves out stay."""
    for section, key in NAMED_BY.items():
        old = {entry.get(key): entry for entry in before.get(section) or ()}
        for entry in _entries(wanted, section):
            yield from _entry_difference(section, key, old.get(entry.get(key)), entry)


def _entry_difference(section: str, key: str, old: Document | None, entry: Document) -> Iterator[str]:
    new = {**(old or {}), **entry}
    if new == old:
        return
    name = f"{section}/{entry.get(key)}"
    lines = difflib.unified_diff(_lines(old), _lines(new), _label(old, name), name, lineterm="")
    yield from lines


def _label(old: Document | None, name: str) -> str:
    return name if old else "(not there)"


def _lines(entry: Document | None) -> list[str]:
    return _dump(entry).splitlines() if entry else []


def _dump(document: Document) -> str:
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return text


def _entries(document: Document, section: str) -> list[Document]:
    """What has the shape of an entry; the server says what is wrong with the rest."""
    entries = document.get(section)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


class _Loader(_FastLoader):  # type: ignore[misc]  # chosen when this is imported
    """Says so when a key comes twice, instead of taking the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} comes twice", key_node.start_mark)
            seen.add(key)
        return dict(super().construct_mapping(node, deep))
