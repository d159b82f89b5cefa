"""Find the service and the instances that a request names, or say which of them are at fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from django.db import connection
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from inventory.errors import NotFound, Problem
from inventory.models import Instance, Node, Service
from inventory.security.access import Access

_OF_SERVICE = """
SELECT instance_id, id FROM inventory_instance
WHERE instance_id = ANY(%s) AND service_id = %s AND retired_at IS NULL
"""


def visible_service(access: Access, name: str) -> Service:
    """Raises NotFound for an unknown service, and for one that the caller may not see."""
    service = access.visible(Service.objects.filter(name=name), "pk").first()
    if service is None:
        detail = _("There is no service '%(name)s'.") % {"name": name}
        problem = Problem(code="service_not_found", detail=detail, attr="service")
        raise NotFound(problems=[problem])
    return service


def visible_instance(access: Access, instance_id: str, *, with_retired: bool = False) -> Instance:
    """Raises NotFound for an unknown instance, and for one of a service that the caller may not see.

    A retired one is unknown, but to who asks for its history.
    """
    rows = Instance.objects.all() if with_retired else Instance.objects.listed()
    instances = access.visible(rows.filter(instance_id=instance_id))
    instance = instances.select_related("service").order_by().first()
    if instance is None:
        problem = Problem(
            code="instance_not_found",
            detail=_("There is no instance '%(name)s'.") % {"name": instance_id},
            attr="instance_id",
            facts={"instance_id": instance_id},
        )
        raise NotFound(problems=[problem])
    return instance


def visible_nodes(access: Access) -> QuerySet[Node]:
    """Who is limited to some services sees the nodes where these have an instance, and may place others there."""
    if access.services is None:
        return Node.objects.listed()
    return Node.objects.listed().filter(pk__in=access.visible(Instance.objects.listed()).values("node_id"))


def find_instances(service: Service, instance_ids: Sequence[str]) -> tuple[list[int], list[Problem]]:
    """The service's instances of these ids, in their order, and a problem for every id that is double or not its own.

    As primary keys: ten thousand of them need no models.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _OF_SERVICE,
            [list(instance_ids), service.pk],
        )
        found: dict[str, int] = dict(cursor.fetchall())
    problems = [_duplicate(name) for name, count in Counter(instance_ids).items() if count > 1]
    problems += [_stranger(service, name) for name in dict.fromkeys(instance_ids) if name not in found]
    return [found[name] for name in dict.fromkeys(instance_ids) if name in found], problems


def _duplicate(name: str) -> Problem:
    return Problem(
        code="duplicate_instance",
        detail=_("Instance '%(name)s' is named more than once.") % {"name": name},
        attr="instances",
        facts={"instance_id": name},
    )


def _stranger(service: Service, name: str) -> Problem:
    return Problem(
        code="instance_not_found",
        detail=_("Service '%(service)s' has no instance '%(name)s'.") % {"service": service.name, "name": name},
        attr="instances",
        facts={"instance_id": name},
    )
