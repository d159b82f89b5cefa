"""What is written where: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from release_client.answers import ApiError

# Nothing that a node or a command printed steers the terminal.
_STEERING = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "�")


def plain(text: str) -> str:
    return text.translate(_STEERING)


class Screen:
    """is_json: stdout is for a program, and gets JSON alone."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json

    def result(self, answer: Any, text: str) -> None:
        """The command's result: for programs as the API answered it, for people as text."""
        if self.is_json:
            self.data(answer)
        else:
            print(plain(text), flush=True)

    def data(self, answer: Any) -> None:
        print(json.dumps(answer, ensure_ascii=False), flush=True)

    def note(self, text: str) -> None:
        print(plain(text), file=sys.stderr, flush=True)

    def error(self, code: str, error: Exception, errors: Sequence[ApiError], *, then: str = "") -> None:
        """For programs in the API's own shape."""
        self.note("\n".join(filter(None, [str(error), then])))
        if self.is_json:
            faults = list(errors) or [{"code": code, "detail": str(error), "attr": None}]
            self.data({"type": "client_error", "errors": faults})


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, lined up; no cell is cut."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
