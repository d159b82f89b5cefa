"""How calls are counted: each of a caller's budgets a minute is used up by calls of its own kind alone."""

from __future__ import annotations

from enum import StrEnum


class Budget(StrEnum):
    """A view that writes says `write_budget = Budget.URGENT` if what it does must pass when a scheduler has run wild:
    it rolls back, stops, keeps or holds something. Other writes, and all reads, need not say anything.
    """

    READ = "read"
    WRITE = "write"
    URGENT = "urgent"
