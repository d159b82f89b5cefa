"""Puts the newest tables into docs/performance.md, between `<!-- KEY -->` and the next `<!-- end -->`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.results import Table, as_markdown


def update(path: Path, tables: Sequence[Table]) -> None:
    text = path.read_text()
    for table in tables:
        block = re.compile(rf"(<!-- {re.escape(table.key)} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = block.sub(lambda found, table=table: f"{found[1]}{as_markdown(table)}\n{found[2]}", text)  # type: ignore[misc]
    path.write_text(text)
