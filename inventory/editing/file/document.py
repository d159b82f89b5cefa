"""An inventory document as it was read, from a file or from JSON: its entries, and all that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ErrorDetail, ValidationError

from inventory.errors import Problem, ReleaseError
from inventory.validation import is_storable
from inventory.wire.inventory_document import (
    InstanceEntry,
    JumpHostEntry,
    NodeEntry,
    ServiceEntry,
    Text,
    Typed,
)
from inventory.wire.serializers import StrictSerializer

# A person reads no more of a file's; a program gets one for every entry that it may send.
MAX_PROBLEMS = 200
MAX_PROBLEMS_OF_JSON = 50_000
# Of any mapping in it: what has more was not meant as one of ours, and each would be told as unknown.
MAX_KEYS = 50

_ENTRIES: Mapping[str, StrictSerializer] = {
    "services": ServiceEntry(),
    "jump_hosts": JumpHostEntry(),
    "nodes": NodeEntry(),
    "instances": InstanceEntry(),
}
# For what is left of an entry with faults.
_PARTIAL = {section: type(entry)(partial=True) for section, entry in _ENTRIES.items()}
# The type of each key, and the keys that must be there: of ten thousand entries, serializers alone take seconds.
_TYPES = {
    section: {key: field.wanted for key, field in entry.fields.items() if isinstance(field, Typed)}
    for section, entry in _ENTRIES.items()
}
_REQUIRED = {
    section: frozenset(key for key, field in entry.fields.items() if field.required)
    for section, entry in _ENTRIES.items()
}
SECTIONS: Mapping[str, tuple[str, ...]] = {section: tuple(entry.fields) for section, entry in _ENTRIES.items()}


class InventoryFileError(ReleaseError):
    """All that is wrong with an inventory document; of a file, each problem's detail begins with FILE:LINE.

    400; 403 if the caller may not do some of it; 409 if nothing but unfinished operations is in its way.
    """

    default_code = "invalid_inventory"

    def __init__(self, *args: Any, http_status: int = 400, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.http_status = http_status


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One service, jump host, node or instance.

    line: in a file, and lines that of each key, those at fault included; in JSON, its place among all entries.
    """

    section: str
    index: int
    values: Mapping[str, str | int | bool]
    line: int = 0
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name or instance_id; '' when it has none that can be read."""
        return str(self.values.get("instance_id" if self.section == "instances" else "name", ""))

    @property
    def label(self) -> str:
        return f"{self.section}[{self.index}] ({self.name})" if self.name else f"{self.section}[{self.index}]"


@dataclass(kw_only=True)
class Document:
    """What was read, and what was wrong with it; the importer adds the problems that only it can see.

    filename: '' for JSON, whose problems say where they are by their `attr` alone.
    """

    filename: str = ""
    entries: dict[str, list[Entry]] = field(default_factory=lambda: {section: [] for section in SECTIONS})
    problems: list[tuple[int, Problem]] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    def complain(
        self,
        line: int,
        detail: str,
        *,
        code: str = "invalid_inventory",
        attr: str | None = None,
        http_status: int = 400,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.statuses.add(http_status)
        where = f"{self.filename}:{line}: " if self.filename else ""
        self.problems.append((line, Problem(code=code, detail=where + detail, attr=attr, facts=facts or {})))

    def complain_of(
        self,
        entry: Entry,
        detail: str,
        *,
        key: str | None = None,
        code: str = "invalid",
        http_status: int = 400,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        what = f"{entry.label}: {key}: {detail}" if key else f"{entry.label}: {detail}"
        line = entry.lines.get(key or "", entry.line)
        attr = f"{entry.section}.{entry.index}.{key}" if key else None if self.filename else _attr(entry)
        named = {"instance_id": entry.name} if entry.section == "instances" and entry.name else {}
        self.complain(line, what, code=code, attr=attr, http_status=http_status, facts={**(facts or {}), **named})

    def place_of(self, entry: Entry) -> str:
        """Where to look for an entry."""
        return (
            _("on line %(line)d") % {"line": entry.line} if self.filename else _("as %(attr)s") % {"attr": _attr(entry)}
        )

    def raise_if_wrong(self) -> None:
        """Raise InventoryFileError with every problem, in the document's order; past the limit, their number."""
        if not self.problems:
            return
        limit = MAX_PROBLEMS if self.filename else MAX_PROBLEMS_OF_JSON
        found = [problem for _line, problem in sorted(self.problems, key=lambda item: item[0])]
        shown = found[:limit]
        if len(found) > len(shown):
            rest = _("%(filename)s: and %(count)d problems more") % {
                "filename": self.filename or _("inventory"),
                "count": len(found) - len(shown),
            }
            shown.append(Problem(code="invalid_inventory", detail=rest))
        http_status = next(status for status in (403, 400, 409) if status in self.statuses)
        raise InventoryFileError(problems=shown, http_status=http_status)


def _attr(entry: Entry) -> str:
    return f"{entry.section}.{entry.index}"


def typed(section: str, data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[ErrorDetail]]]:
    """The values that are right, and what is wrong with the others, by key."""
    if _is_right(section, data):
        return dict(data), {}
    try:
        return _ENTRIES[section].run_validation(data), {}
    except ValidationError as error:
        faults: Any = error.detail
        right = {key: value for key, value in data.items() if key not in faults}
        return _PARTIAL[section].run_validation(right), faults


def _is_right(section: str, data: Mapping[str, Any]) -> bool:
    types = _TYPES[section]
    is_typed = all(type(value) is types.get(key) for key, value in data.items())
    return is_typed and _REQUIRED[section] <= data.keys() and is_storable("".join(map(str, data.values())))


def is_text(section: str, key: str) -> bool:
    """Whether this key of an entry takes text."""
    return isinstance(_ENTRIES[section].fields.get(key), Text)


def unknown_key(section: str) -> str:
    return _("unknown key; known: %(known)s") % {"known": ", ".join(SECTIONS[section])}
