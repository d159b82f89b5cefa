"""Some of the tables as an SVG picture: one bar a tool, its length the median time. Reads on light and dark paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench.results import Row, Table

DRAWN = (
    "fleet-deploy",
    "disk-deploy",
    "fleet-rollback",
    "incremental-small-cable",
    "incremental-small-link",
    "incremental-big-link",
    "fleet-deploy-cpu",
    "fleet-rollback-cpu",
)
WIDTH, LABEL_WIDTH, VALUE_WIDTH = 860, 250, 160
BAR_HEIGHT, ROW_HEIGHT, TITLE_HEIGHT = 18, 28, 44
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.bar { fill: #8c959f } .ours { fill: #1f6feb } .limit { fill: none; stroke: #8c959f; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .bar { fill: #6e7681 } .ours { fill: #58a6ff } .limit { stroke: #6e7681 }
}
"""


def write(path: Path, tables: Sequence[Table]) -> None:
    """Writes nothing when there is none of DRAWN among them."""
    drawn = sorted((table for table in tables if table.key in DRAWN), key=lambda table: DRAWN.index(table.key))
    if drawn:
        path.write_text(picture(drawn))


def picture(tables: Sequence[Table]) -> str:
    parts, top = [], 0
    for table in tables:
        parts.append(_panel(table, top))
        top += TITLE_HEIGHT + ROW_HEIGHT * len(table.rows) + 12
    label = escape("; ".join(table.title for table in tables))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" role="img" aria-label="{label}">'
        f"<style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _panel(table: Table, top: int) -> str:
    rows = sorted(table.rows, key=lambda row: row.median)
    longest = max(row.median for row in rows)
    title = f'<text class="title" x="0" y="{top + 24}">{escape(table.title)} (median, {escape(table.unit)})</text>'
    bars = [_bar(row, longest, top + TITLE_HEIGHT + place * ROW_HEIGHT) for place, row in enumerate(rows)]
    return title + "".join(bars)


def _bar(row: Row, longest: float, top: int) -> str:
    length = max(2.0, (WIDTH - LABEL_WIDTH - VALUE_WIDTH) * row.median / longest)
    css_class = "ours" if row.name.startswith("this system") else "limit" if row.note == "the limit" else "bar"
    baseline = top + BAR_HEIGHT - 4
    value = f"{row.median:.2f}" + (f"   {row.note}" if row.note else "")
    return (
        f'<text x="0" y="{baseline}">{escape(row.name)}</text>'
        f'<rect class="{css_class}" x="{LABEL_WIDTH}" y="{top}" width="{length:.0f}" height="{BAR_HEIGHT}" rx="3"/>'
        f'<text x="{LABEL_WIDTH + length + 8:.0f}" y="{baseline}">{escape(value)}</text>'
    )
