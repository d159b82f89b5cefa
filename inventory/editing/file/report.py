"""What an import did or would do, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _

from inventory.validation import host_key_fingerprint
from inventory.wire.wire_time import wire_time

_SHOWN_CHARS = 60
# A page with more rows than this is of no use to a reader.
_SHOWN_ROWS = 2000


class Outcome(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One field's values as a person reads them; keys appear as their fingerprints."""

    field: str
    old: str
    new: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """kind: service, jump_host, node or instance."""

    kind: str
    name: str
    outcome: Outcome
    changes: tuple[Change, ...] = ()

    @property
    def kind_word(self) -> str:
        words = {"service": _("service"), "jump_host": _("jump host"), "node": _("node"), "instance": _("instance")}
        return words[self.kind]

    @property
    def outcome_word(self) -> str:
        """What would be done, for a preview."""
        return {"created": _("to create"), "updated": _("to update"), "unchanged": _("unchanged")}[self.outcome]


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    rows: tuple[Row, ...]
    is_dry_run: bool

    def count(self, outcome: Outcome) -> int:
        return sum(row.outcome == outcome for row in self.rows)

    @property
    def summary(self) -> str:
        counts = ", ".join(f"{self.count(outcome)} {outcome}" for outcome in Outcome)
        return f"dry run, nothing changed: {counts}" if self.is_dry_run else counts

    @property
    def created(self) -> int:
        return self.count(Outcome.CREATED)

    @property
    def updated(self) -> int:
        return self.count(Outcome.UPDATED)

    @property
    def unchanged(self) -> int:
        return self.count(Outcome.UNCHANGED)

    @property
    def touched(self) -> list[Row]:
        """What changes, as far as a page shows it; `cut_off` says how many more there are."""
        return [row for row in self.rows if row.outcome != Outcome.UNCHANGED][:_SHOWN_ROWS]

    @property
    def cut_off(self) -> int:
        return self.created + self.updated - len(self.touched)

    def as_json(self) -> dict[str, Any]:
        """As HTTP answers it."""
        touched = [asdict(row) for row in self.rows if row.outcome != Outcome.UNCHANGED]
        counts = {outcome.value: self.count(outcome) for outcome in Outcome}
        return counts | {"dry_run": self.is_dry_run, "rows": touched}

    def lines(self) -> Iterator[str]:
        """A table: kind, name, outcome, changed fields."""
        cells = [(row.kind, row.name, row.outcome.value, _changes(row)) for row in self.rows]
        widths = [max((len(cell[column]) for cell in cells), default=0) for column in range(3)]
        for cell in cells:
            fixed = [text.ljust(width) for text, width in zip(cell, widths, strict=False)]
            yield "  ".join([*fixed, cell[3]]).rstrip()


def _changes(row: Row) -> str:
    return "; ".join(f"{change.field}: {change.old} → {change.new}" for change in row.changes)


def shown(field: str, value: Any) -> str:
    """A field's value in one short line."""
    if isinstance(value, datetime):
        return wire_time(value)
    text = host_key_fingerprint(value) if field == "ssh_host_key" else "" if value is None else str(value)
    line = " ".join(text.split()) or "(empty)"
    return line if len(line) <= _SHOWN_CHARS else line[: _SHOWN_CHARS - 1] + "…"
