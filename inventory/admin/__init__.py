"""The admin of the inventory. Each module registers what it is about."""

from __future__ import annotations

from inventory.admin import audit, changes, instances, jump_hosts, nodes, services

__all__ = ["audit", "changes", "instances", "jump_hosts", "nodes", "services"]
