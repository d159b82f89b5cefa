"""The admin's index and its side list, by what a person looks for and not by Django app; and its help texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import template
from django.utils.functional import Promise
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst
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


@register.filter
def prose(text: Any) -> SafeString:
    """A help text: what stands between backticks is code. One that is HTML already stays as it is."""
    code = re.sub(r"`([^`]+)`", r"<code>\1</code>", conditional_escape(text))
    return mark_safe(code)  # noqa: S308  # escaped above


@register.filter
def labelled(cells: Iterable[str], headers: Sequence[Mapping[str, Any]]) -> list[SafeString]:
    """The cells of a row of Django's list, each with its column's name as `data-label`."""
    named = zip(cells, headers, strict=True)
    return [mark_safe(_with_label(cell, capfirst(str(header["text"])))) for cell, header in named]  # noqa: S308


def _with_label(cell: str, label: str) -> str:
    """cell: `<td …` or `<th …`. The box that chooses a row has a name of its own."""
    return cell if "action-checkbox" in cell[:40] else cell[:3] + format_html(' data-label="{}"', label) + cell[3:]
