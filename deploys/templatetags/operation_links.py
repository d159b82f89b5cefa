"""From an operation's stored name to its page."""

from __future__ import annotations

from django import template
from django.urls import reverse
from django.utils.html import format_html

from deploys.states import Kind
from inventory.names import is_operation_id

register = template.Library()


@register.simple_tag
def operation_link(name: str, *, is_kept: bool = True) -> str:
    """name: an operation's kind and id, as a status change keeps it; anything else is shown as it is.

    is_kept: whether the operation still has a page.
    """
    kind, _, public_id = name.partition(" ")
    if kind not in Kind.values or not is_operation_id(public_id):
        return name
    if not is_kept:
        return format_html('{} <span class="mono">{}</span>', Kind(kind).label, public_id)
    url = reverse(kind, args=[public_id])
    return format_html('{} <a class="link mono" href="{}">{}</a>', Kind(kind).label, url, public_id)
