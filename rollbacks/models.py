"""A rollback is an operation with another source and another priority than a deploy."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from deploys.models import Operation
from deploys.states import Kind


class RollbackManager(models.Manager["Rollback"]):
    def get_queryset(self) -> models.QuerySet[Rollback]:
        return super().get_queryset().filter(kind=Kind.ROLLBACK)


class Rollback(Operation):
    objects: ClassVar[RollbackManager] = RollbackManager()

    class Meta:
        verbose_name = _("rollback")
        verbose_name_plural = _("rollbacks")
        proxy = True
        ordering = ("-id",)
