"""Template tags for states and error codes. family: a key of `deploys.badges.FAMILIES`."""

from __future__ import annotations

from django import template
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString

from deploys.badges import Explanation, badge, explained
from deploys.error_codes import ErrorCode
from deploys.models import Operation, Target
from deploys.told import said
from inventory.console.badges import Badge
from inventory.security.redaction import scrub
from inventory.templatetags.console import icon

register = template.Library()


@register.simple_tag
def chip(family: str, value: str) -> SafeString:
    """A state as shape, label and colour together."""
    shown = badge(family, value)
    return format_html('<span class="chip tone-{}">{}{}</span>', shown.tone, _icon(shown), shown.label)


@register.simple_tag
def state_icon(family: str, value: str) -> SafeString:
    return _icon(badge(family, value))


def _icon(shown: Badge) -> SafeString:
    return icon(shown.icon, "spin" if shown.icon == "spinner" else "")


@register.filter
def tone(value: str, family: str) -> str:
    return badge(family, value).tone


@register.filter
def label(value: str, family: str) -> str | Promise:
    return badge(family, value).label


@register.filter
def explanation(code: str) -> ErrorCode | Explanation:
    """Of a target's error code: `label` and `advice`."""
    return explained(code)


@register.simple_tag
def target_error(target: Target) -> str:
    return _told(target.error_told, target.error_message)


@register.simple_tag
def package_error(operation: Operation) -> str:
    return _told(operation.package_error_told, operation.package_error_message)


def _told(told: object, english: str) -> SafeString:
    """Marked as English where no other language is known of it."""
    text = scrub(said(told, english))
    return format_html('<span lang="en">{}</span>' if text == scrub(english) else "{}", text)
