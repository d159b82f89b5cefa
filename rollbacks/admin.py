"""Rollbacks, to read."""

from __future__ import annotations

from django.contrib import admin

from deploys.admin.operations import OperationAdmin
from rollbacks.models import Rollback


@admin.register(Rollback)
class RollbackAdmin(OperationAdmin):
    pass
