"""A stacked bar of counts, drawn as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Segment:
    """One part of a stacked bar; css_class is one of the `f-…` fills."""

    label: str
    count: int
    css_class: str


@dataclass(frozen=True, kw_only=True)
class Drawn:
    x: str
    width: str
    css_class: str


def drawn_bar(segments: Sequence[Segment], total: int | None = None) -> list[Drawn]:
    """The parts that are not empty. Widths go into SVG attributes: an inline style would break the CSP."""
    whole = total or sum(segment.count for segment in segments) or 1
    drawn, x = [], 0.0
    for segment in segments:
        width = 100 * segment.count / whole
        if segment.count:
            drawn.append(Drawn(x=f"{x:.3f}%", width=f"{max(width, 0.6):.3f}%", css_class=segment.css_class))
        x += width
    return drawn
