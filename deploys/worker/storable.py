"""Text as PostgreSQL can store it. What a node, a command or a library says comes through here before it is written."""

from __future__ import annotations

LONGEST_TEXT = 64 * 1024


def storable(text: str) -> str:
    """`text` without NUL and lone surrogates, and no longer than is of use to anybody."""
    whole = text.replace("\x00", "").encode("utf-8", "replace").decode()
    return (
        whole
        if len(whole) <= LONGEST_TEXT
        else f"{whole[:LONGEST_TEXT]} … [{len(whole) - LONGEST_TEXT:,} more characters]"
    )
