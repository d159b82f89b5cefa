from __future__ import annotations

from tests.support.webhook_receiver import receiver

__all__ = ("receiver",)
