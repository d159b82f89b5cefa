"""Everything that has a name, found by a part of it: services, instances, nodes, versions and operations.

What bears exactly the text comes first, then what begins with it, then what has it in its midst. Each kind is asked once,
and the two that grow without end, versions and operations, among their newest only; an operation's whole id finds any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeVar

from django.db.models import Case, Count, F, IntegerField, Max, Model, Q, QuerySet, Value, When
from django.db.models.functions import Length
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import ngettext

from deploys.models import Operation, Package
from deploys.states import Kind
from inventory.models import Instance, Node, Service
from inventory.security.access import Access

ModelT = TypeVar("ModelT", bound=Model)
_NEWEST = 100_000
_EXACT, _PREFIX, _PART = range(3)


@dataclass(frozen=True, kw_only=True)
class Found:
    """kind: `service`, `instance`, `node`, `version`, or an operation's. note: what tells it from others of its kind."""

    kind: str
    name: str
    note: str
    url: str
    rank: int
    service: str = ""
    is_retired: bool = False


def search(access: Access, text: str, *, each: int, most: int) -> list[Found]:
    """At most `each` of a kind and `most` of all, the best first; nothing for an empty text."""
    if not text:
        return []
    kinds: Sequence[Iterable[Found]] = [
        islice(find(access, text, each), each) for find in (_services, _instances, _nodes, _versions, _operations)
    ]
    return list(islice(sorted(chain.from_iterable(kinds), key=lambda found: found.rank), most))


def _rank(field: str, text: str) -> Case:
    return Case(
        When(**{f"{field}__iexact": text}, then=Value(_EXACT)),
        When(**{f"{field}__istartswith": text}, then=Value(_PREFIX)),
        default=Value(_PART),
        output_field=IntegerField(),
    )


def _services(access: Access, text: str, each: int) -> Iterable[Found]:
    named = access.visible(Service.objects.all(), "pk").filter(name__icontains=text)
    for name, rank in (
        named.annotate(rank=_rank("name", text)).order_by("rank", "name").values_list("name", "rank")[:each]
    ):
        yield Found(kind="service", name=name, note="", url=reverse("service", args=[name]), rank=rank)


def _instances(access: Access, text: str, each: int) -> Iterable[Found]:
    """By id, or by `host:port` as the pages show it."""
    host, _colon, port = text.rpartition(":")
    is_there = Q(node__host=host, port=int(port)) if host and port.isdecimal() and len(port) < 6 else Q(pk=None)
    rows = (
        access.visible(Instance.objects.all())
        .filter(Q(instance_id__icontains=text) | is_there)
        .annotate(rank=Case(When(is_there, then=Value(_EXACT)), default=_rank("instance_id", text)))
        .order_by("rank", F("retired_at").desc(nulls_first=True), "natural_key")
        .values_list("instance_id", "service__name", "running_version", "retired_at", "rank")
    )
    for name, service, version, retired_at, rank in rows[:each]:
        note = f"{service} · {version}" if version else service
        url = reverse("instance", args=[name])
        yield Found(kind="instance", name=name, note=note, url=url, rank=rank, is_retired=retired_at is not None)


def _nodes(access: Access, text: str, each: int) -> Iterable[Found]:
    rows = (
        visible_nodes(access)
        .filter(Q(name__icontains=text) | Q(host__icontains=text))
        .annotate(rank=Case(When(host__iexact=text, then=Value(_EXACT)), default=_rank("name", text)))
        .order_by("rank", F("retired_at").desc(nulls_first=True), Length("name"), "name")
        .values_list("name", "host", "retired_at", "rank")
    )
    for name, host, retired_at, rank in rows[:each]:
        url = reverse("node", args=[name])
        yield Found(kind="node", name=name, note=host, url=url, rank=rank, is_retired=retired_at is not None)


def visible_nodes(access: Access) -> QuerySet[Node]:
    """Those that some instance of the person's services is on, or was."""
    if access.services is None:
        return Node.objects.all()
    return Node.objects.filter(pk__in=access.visible(Instance.objects.all()).values("node"))


def _versions(access: Access, text: str, each: int) -> Iterable[Found]:
    """Of each service, those that run, then those that packages are pinned for; a part of the service's name may follow:
    `v1.4 user`.
    """
    version, _space, service = text.partition(" ")
    of_service = {"service__name__icontains": service.strip()}
    running = list(_running_versions(access, version, of_service, each))
    seen = {(found.name, found.service) for found in running}
    rows = (
        access.visible(_newest(Package.objects.filter(version__icontains=version, **of_service)))
        .order_by()
        .values("version", "service__name")
        .annotate(rank=_rank("version", version), newest=Max("pk"))
        .order_by("rank", "-newest")
        .values_list("version", "service__name", "rank")
    )
    yield from running
    for name, of, rank in rows[: 2 * each]:
        if (name, of) not in seen:
            url = f"{reverse('history')}?{urlencode({'service': of, 'version': name})}"
            yield Found(kind="version", name=name, note=of, service=of, url=url, rank=rank)


def _running_versions(access: Access, version: str, of_service: dict[str, str], each: int) -> Iterable[Found]:
    rows = (
        access.visible(Instance.objects.listed().filter(running_version__icontains=version, **of_service))
        .order_by()
        .values("running_version", "service__name")
        .annotate(rank=_rank("running_version", version), count=Count("pk"))
        .order_by("rank", "-count", "running_version")
        .values_list("running_version", "service__name", "rank", "count")
    )
    for name, of, rank, count in rows[:each]:
        note = ngettext("%(service)s, on %(count)s instance", "%(service)s, on %(count)s instances", count)
        url = f"{reverse('service', args=[of])}?{urlencode({'version': name})}"
        note %= {"service": of, "count": count}
        yield Found(kind="version", name=name, note=note, service=of, url=url, rank=rank)


def _operations(access: Access, text: str, each: int) -> Iterable[Found]:
    whole = access.visible(Operation.objects.filter(kind__in=Kind.values, public_id=text))
    part = access.visible(_newest(Operation.objects.all())).filter(public_id__icontains=text)
    for rows in (whole, part):
        ranked = rows.annotate(rank=_rank("public_id", text)).order_by("rank", "-pk")
        found = list(ranked.values_list("kind", "public_id", "service__name", "version", "rank")[:each])
        if found:
            break
    for kind, name, service, version, rank in found:
        yield Found(kind=kind, name=name, note=f"{service} · {version}", url=reverse(kind, args=[name]), rank=rank)


def _newest(rows: QuerySet[ModelT]) -> QuerySet[ModelT]:
    """Keys are given out in turn, so that this is a range of the primary key's index."""
    last = rows.order_by("-pk").values_list("pk", flat=True).first() or 0
    return rows.filter(pk__gt=last - _NEWEST)
