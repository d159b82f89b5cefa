"""What another tool has left on a service's nodes: of each instance what the last sync saw, and what will happen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from deploys.models import Package
from inventory.console.pages import Pages
from inventory.instances.adoption import Surveyed, lines, survey_of
from inventory.models import Instance, Service, Survey

PAGE_SIZE = 100


@dataclass(frozen=True, kw_only=True)
class Row:
    """survey None: the instance has not been read yet."""

    instance: Instance
    survey: Survey | None
    lines: Sequence[str]


def known_versions(service: Service) -> set[str]:
    """Those that a package has been pinned for."""
    return set(Package.objects.filter(service=service).values_list("version", flat=True))


def rows(service: Service, pages: Pages) -> list[Row]:
    """One page of the service's instances, in natural order."""
    instances = service.instances.listed().select_related("node", "survey").order_by("natural_key")
    known = known_versions(service)
    return [row_of(instance, known) for instance in instances[pages.start : pages.end]]


def row_of(instance: Instance, known: Collection[str]) -> Row:
    """By one query at the most."""
    survey = getattr(instance, "survey", None)
    if survey is None:
        return Row(instance=instance, survey=None, lines=())
    surveyed = Surveyed(instance=instance, survey=survey_of(survey))
    return Row(instance=instance, survey=survey, lines=tuple(lines(surveyed, known=known)))
