"""Which of a service's versions is the newer one: the one whose package was seen here later, whatever they are called."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import Min

from deploys.models import Package
from inventory.models import Service


def version_ages(service: Service) -> Mapping[str, int]:
    """By version, a number that is larger for a newer one. One that another tool had installed is in none, and older than all."""
    packages = Package.objects.filter(service=service).order_by()
    return dict(packages.values_list("version").annotate(first=Min("pk")))


def is_newer(version: str, *, than: str, ages: Mapping[str, int]) -> bool:
    """Nothing is newer than what is not known to run."""
    return bool(than) and ages.get(version, 0) > ages.get(than, 0)
