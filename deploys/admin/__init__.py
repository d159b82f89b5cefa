"""The admin of operations and of webhooks. Each module registers what it is about."""

from __future__ import annotations

from deploys.admin import operations, webhooks

__all__ = ["operations", "webhooks"]
