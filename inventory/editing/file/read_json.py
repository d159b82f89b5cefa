"""Reads the inventory document from JSON into entries of the right types; the rules are those of the file."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from inventory.editing.file.document import MAX_KEYS, SECTIONS, Document, Entry, typed, unknown_key

# Twice as many instances as one deploy may name, each on a node of its own, and some more.
MAX_ENTRIES = 50_000


def read_json(body: Any) -> Document:
    """Entries with only the known keys of the right type. Nothing is raised: the document knows what is wrong."""
    document = Document()
    if not isinstance(body, dict):
        document.complain(0, _("must be an object with services, jump_hosts, nodes and instances"))
        return document
    if not body:
        document.complain(0, _("names nothing: give services, jump_hosts, nodes or instances"), code="required")
    if len(body) > MAX_KEYS:
        document.complain(0, _("has too many keys"), code="unknown_key")
        return document
    for section in [key for key in body if key not in SECTIONS]:
        known = ", ".join(SECTIONS)
        detail = _("unknown key %(key)r; known: %(known)s") % {"key": section, "known": known}
        document.complain(0, detail, code="unknown_key", attr=section)
    sections = {section: body[section] for section in SECTIONS if body.get(section) is not None}
    if sum(len(items) for items in sections.values() if isinstance(items, list)) > MAX_ENTRIES:
        limit = _("has more than %(limit)d entries; send it in parts") % {"limit": MAX_ENTRIES}
        document.complain(0, limit, code="too_large")
        return document
    for section, items in sections.items():
        _read_section(section, items, document)
    return document


def _read_section(section: str, items: Any, document: Document) -> None:
    if not isinstance(items, list):
        document.complain(0, _("%(section)s must be a list") % {"section": section}, attr=section)
        return
    before = sum(len(entries) for entries in document.entries.values())
    for index, item in enumerate(items):
        if isinstance(item, dict) and len(item) <= MAX_KEYS:
            document.entries[section].append(_read_entry(section, index, item, document, before + index))
        else:
            fault = _("has too many keys") if isinstance(item, dict) else _("must be an object")
            document.complain(before + index, f"{section}[{index}]: {fault}", attr=f"{section}.{index}")


def _read_entry(section: str, index: int, item: dict[str, Any], document: Document, place: int) -> Entry:
    values, faults = typed(section, item)
    entry = Entry(section=section, index=index, values=values, line=place, lines=dict.fromkeys(item, place))
    for key, errors in faults.items():
        detail = unknown_key(section) if errors[0].code == "unknown_field" else str(errors[0])
        document.complain_of(entry, detail, key=key, code=errors[0].code or "invalid")
    return entry
