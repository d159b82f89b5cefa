"""The log's lines as HTML. Five hundred of them by template tags would take longer than the rest of the page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC

from django import template
from django.urls import reverse
from django.utils.html import escape
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe

from deploys.models import LogLine
from deploys.told import said
from inventory.models import Instance
from inventory.security.redaction import scrub

register = template.Library()

_LINE = (
    '<li id="L{seq}" class="log-{stream}"><a class="log-n" href="?line={seq}{query}#L{seq}" data-n="{seq}"'
    ' aria-label="{seq}"></a><span class="log-time"><time datetime="{iso}Z" data-as="clock" title="{utc} UTC">{clock}'
    '</time></span><span class="log-who">{who}</span><span class="log-text">{text}</span></li>\n'
)


@register.simple_tag
def log_lines(lines: Iterable[LogLine], instance: Instance | None) -> SafeString:
    """Text and names are escaped here; everything else comes from our own choices and numbers."""
    query = escape("&" + urlencode({"instance": instance.instance_id})) if instance else ""
    return mark_safe("".join(_line(line, query) for line in lines))  # noqa: S308


@register.simple_tag(takes_context=True)
def log_part_url(context: template.Context, edge: str, seq: int) -> str:
    """Where the lines before or after `seq` are read from; edge: before or after."""
    operation, instance = context["operation"], context.get("log_instance")
    query = {edge: seq} | ({"instance": instance.instance_id} if instance else {})
    return f"{reverse(f'{operation.kind}-log-part', args=[operation.public_id])}?{urlencode(query)}"


def _line(line: LogLine, query: str) -> str:
    at = line.at.astimezone(UTC)
    return _LINE.format(
        seq=line.seq,
        stream=escape(line.stream),
        query=query,
        iso=at.strftime("%Y-%m-%dT%H:%M:%S"),
        utc=at.strftime("%Y-%m-%d %H:%M:%S"),
        clock=at.strftime("%H:%M:%S"),
        who=escape(line.instance.instance_id) if line.instance else "",
        text=escape(scrub(said(line.told, line.text))),
    )
