"""What a benchmark found: rows for a table, and the same for JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Row:
    """values: seconds, bytes or whatever the table's unit is; one for each time it was done."""

    name: str
    values: Sequence[float]
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(kw_only=True)
class Table:
    """ratio_to: the row that the others are set against, '' for none. goal: what issue or document asks for."""

    key: str
    title: str
    unit: str
    rows: list[Row] = field(default_factory=list)
    ratio_to: str = ""
    goal: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def add(self, name: str, values: Sequence[float], note: str = "") -> None:
        self.rows.append(Row(name=name, values=list(values), note=note))

    def median_of(self, name: str) -> float | None:
        return next((row.median for row in self.rows if row.name == name), None)

    def as_json(self) -> dict[str, Any]:
        rows = [{**asdict(row), "median": row.median} for row in self.rows]
        return {**asdict(self), "rows": rows}


def as_text(table: Table) -> str:
    base = table.median_of(table.ratio_to) if table.ratio_to else None
    lines = [["", f"median, {table.unit}", "best", "worst", *(["ratio"] if base else []), ""]]
    for row in table.rows:
        ratio = [f"{row.median / base:.2f}"] if base else []
        lines.append(
            [row.name, *(_number(v) for v in (row.median, min(row.values), max(row.values))), *ratio, row.note]
        )
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    body = ["  ".join(_cell(text, widths[place], place) for place, text in enumerate(line)).rstrip() for line in lines]
    goal = [f"  goal: {table.goal}"] if table.goal else []
    return "\n".join([f"\n{table.title}", *(f"  {line}" for line in body), *goal])


def as_markdown(table: Table) -> str:
    base = table.median_of(table.ratio_to) if table.ratio_to else None
    heads = ["", f"median, {table.unit}", "best", "worst", *(["ratio"] if base else []), ""]
    lines = [heads, ["---", "--:", "--:", "--:", *(["--:"] if base else []), "---"]]
    for row in table.rows:
        ratio = [f"{row.median / base:.2f}"] if base else []
        lines.append(
            [row.name, *(_number(v) for v in (row.median, min(row.values), max(row.values))), *ratio, row.note]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str, width: int, place: int) -> str:
    return text.ljust(width) if place == 0 else text.rjust(width)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
