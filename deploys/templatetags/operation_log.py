"""The log's lines as HTML. Five hundred of them by template tags would take longer than the rest of the page.

They are grouped by instance, and there by step; each group can be folded. A part that comes later has groups of its own: the
script (console/log.js) puts their lines into those that are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from itertools import groupby
from operator import attrgetter

from django import template
from django.urls import reverse
from django.utils.html import escape
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from deploys.models import LogLine
from deploys.states import Step
from deploys.told import said
from inventory.models import Instance
from inventory.security.redaction import scrub
from inventory.templatetags.console import icon

register = template.Library()

_GROUP = (
    '<details class="log-group" data-group="{key}"{open}><summary>{icon}<span class="log-who">{who}</span>'
    '<span class="log-last" data-last="{last}"></span></summary>{steps}</details>\n'
)
_STEP = (
    '<details class="log-step" data-step="{step}" open><summary>{icon}<span class="log-step-name">{name}</span></summary>'
    '<ol class="log-lines">{lines}</ol></details>\n'
)
_LINE = (
    '<li id="L{seq}" class="log-{stream}"><a class="log-n" href="?line={seq}{query}#L{seq}" data-n="{seq}"'
    ' aria-label="{seq}"></a><span class="log-time"><time datetime="{iso}Z" data-as="clock" title="{utc} UTC">{clock}'
    '</time></span><span class="log-text">{text}</span></li>\n'
)


@register.simple_tag
def log_lines(lines: Iterable[LogLine], instance: Instance | None, total: int) -> SafeString:
    """Text and names are escaped here; everything else comes from our own choices and numbers. total: of instances."""
    query = escape("&" + urlencode({"instance": instance.instance_id})) if instance else ""
    by_instance: dict[int, list[LogLine]] = {}
    for line in lines:
        by_instance.setdefault(line.instance_id or 0, []).append(line)
    is_one = instance is not None or total == 1
    groups = sorted(by_instance.values(), key=_rank)
    return mark_safe("".join(_group(theirs, query, is_one) for theirs in groups))  # noqa: S308


def _rank(lines: Sequence[LogLine]) -> int:
    """The operation itself first, those that are done last: what failed is not to be looked for."""
    return 0 if lines[0].instance_id is None else 1 + _is_done(lines)


def _is_done(lines: Sequence[LogLine]) -> bool:
    return lines[-1].step == Step.DONE


def _group(lines: Sequence[LogLine], query: str, is_one: bool) -> str:
    """Of one instance, or of the operation itself. Where there are many instances, one that is done needs no look."""
    first, last = lines[0], lines[-1]
    is_done = _is_done(lines) and not is_one
    return _GROUP.format(
        key=first.instance_id or 0,
        open="" if is_done else " open",
        icon=icon("chevron"),
        who=escape(first.instance.instance_id if first.instance else _("The operation itself")),
        last=escape(_text(last)),
        steps="".join(_step(step, list(theirs), query) for step, theirs in groupby(lines, attrgetter("step"))),
    )


def _step(step: str, lines: Sequence[LogLine], query: str) -> str:
    name = Step(step).label if step in Step.values else step
    lines_html = "".join(_line(line, query) for line in lines)
    return _STEP.format(step=escape(step), icon=icon("chevron"), name=escape(name or "—"), lines=lines_html)


def _text(line: LogLine) -> str:
    return scrub(said(line.told, line.text))


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
        text=escape(_text(line)),
    )
