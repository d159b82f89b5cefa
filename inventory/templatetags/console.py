"""Template words of the console: icons, times, durations, stacked bars."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from django import template
from django.http import HttpRequest
from django.templatetags.static import static
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from inventory.console.bars import Segment, drawn_bar
from inventory.security.redaction import redact_url, scrub

register = template.Library()


@register.simple_tag
def icon(name: str, extra_class: str = "") -> SafeString:
    return format_html(
        '<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        extra_class,
        _sprite(),
        name,
    )


@cache
def _sprite() -> str:
    return static("console/icons.svg")


register.filter("redact_url", redact_url)
register.filter("scrub", scrub)


@register.simple_tag
def when(at: datetime | None, as_: str = "full", none: str = "—") -> str | SafeString:
    """A time that the script shows in the viewer's zone; UTC on hover, and without the script.

    as_: full, age, clock, or elapsed (counting up from `at`).
    """
    if at is None:
        return none
    utc = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" data-as="{}" title="{} UTC">{}</time>',
        utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03}Z",
        as_,
        utc.strftime("%Y-%m-%d %H:%M:%S"),
        _as_text(utc, as_),
    )


def _as_text(utc: datetime, as_: str) -> str:
    if as_ == "clock":
        return utc.strftime("%H:%M:%S")
    if as_ == "elapsed":
        return clock((timezone.now() - utc).total_seconds())
    return f"{date_format(utc, 'Y-m-d H:i:s')} UTC"


@register.filter
def clock(seconds: float | None) -> str:
    """Seconds as 03:12 or 1:03:12."""
    if seconds is None:
        return "—"
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


@register.filter
def duration(seconds: float | None) -> str:
    """A duration in words short enough for a table."""
    if seconds is None:
        return "—"
    if seconds < 0.0995:
        return _("%(count)s ms") % {"count": max(1, round(seconds * 1000))}
    if seconds < 9.95:
        return _("%(count)s s") % {"count": f"{seconds:.1f}"}
    if seconds < 100:
        return _("%(count)s s") % {"count": round(seconds)}
    if seconds < 3600:
        return _("%(minutes)s min %(seconds)s s") % {"minutes": int(seconds // 60), "seconds": int(seconds % 60)}
    if seconds < 172_800:
        return _("%(hours)s h %(minutes)s min") % {"hours": int(seconds // 3600), "minutes": int(seconds % 3600 // 60)}
    return _("%(count)s days") % {"count": int(seconds // 86_400)}


@register.filter
def size(count: int | None) -> str:
    """Bytes, in the largest unit that keeps a whole part."""
    if count is None:
        return "—"
    value, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while value >= 1024 and unit != "TiB":
        value, unit = value / 1024, next(units)
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


@register.inclusion_tag("console/_bar.html")
def stacked_bar(segments: Sequence[Segment], total: int | None = None, tall: bool = False) -> dict[str, Any]:
    drawn = drawn_bar(segments, total)
    counts = ({"label": segment.label, "count": segment.count} for segment in segments if segment.count)
    label = _(", ").join(_("%(label)s: %(count)s") % count for count in counts)
    return {"drawn": drawn, "label": label or _("Nothing yet"), "tall": tall}


@register.simple_tag(takes_context=True)
def current(context: template.Context, *names: str) -> str:
    """`page` for aria-current on the entry of the page that is shown."""
    request = context.get("request")
    match = request.resolver_match if isinstance(request, HttpRequest) else None
    is_here = match is not None and (match.url_name in names or match.app_name in names)
    return "page" if is_here else "false"
