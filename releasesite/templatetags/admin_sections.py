"""The admin's index and its side list, by what a person looks for and not by Django app."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import template
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

register = template.Library()

SECTIONS: tuple[tuple[str | Promise, tuple[str, ...]], ...] = (
    (_("Inventory"), ("Service", "JumpHost", "Node", "Instance")),
    (_("Operations"), ("Deploy", "Rollback", "Target", "Package", "StatusChange")),
    (
        _("People and programs"),
        ("User", "Group", "ServiceLimit", "ApiToken", "Webhook", "WebhookDelivery", "AccessAttempt"),
    ),
)
REST = _("System")


@dataclass(frozen=True, kw_only=True)
class Section:
    title: str | Promise
    models: Sequence[Mapping[str, Any]]


@register.simple_tag
def admin_sections(apps: Iterable[Mapping[str, Any]]) -> list[Section]:
    """apps: as `AdminSite.get_app_list` gives them. What no section names comes last."""
    left = {model["object_name"]: model for app in apps for model in app["models"]}
    sections = [
        Section(title=title, models=[left.pop(name) for name in names if name in left]) for title, names in SECTIONS
    ]
    sections.append(Section(title=REST, models=list(left.values())))
    return [section for section in sections if section.models]
