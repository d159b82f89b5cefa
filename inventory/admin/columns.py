"""States in lists and forms, as the console shows them."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inventory.console.badges import Badge, Badges
from inventory.templatetags.console import icon
from inventory.validation import host_key_fingerprint


def chip(label: str | Promise, *, icon_name: str, tone: str = "idle") -> SafeString:
    return format_html('<span class="chip tone-{}">{}{}</span>', tone, icon(icon_name), label)


def badge_of(badges: Badges, value: str) -> SafeString:
    """Never fails: what a newer version calls a state is shown as it is."""
    badge = badges.get(value) or Badge(label=value)
    return chip(badge.label, icon_name=badge.icon, tone=badge.tone)


def side_by_side(chips: Iterable[SafeString]) -> SafeString:
    return format_html('<span class="chips">{}</span>', format_html_join(" ", "{}", ((each,) for each in chips)))


def mono(text: str) -> SafeString:
    return format_html('<span class="mono">{}</span>', text) if text else SafeString("")


def fingerprint_cell(host_key: str) -> SafeString:
    return mono(host_key_fingerprint(host_key))
