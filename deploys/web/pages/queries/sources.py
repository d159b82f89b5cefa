"""Where a release will come from, as far as can be said before anything happens."""

from __future__ import annotations

from deploys.models import Package
from deploys.operations.way_back import Past
from deploys.packages.store import stored
from deploys.states import Source
from inventory.models import Service
from inventory.releases import kept, version_of


def has_kept(past: Past, version: str, service: Service) -> bool:
    """The node has the release still."""
    releases = kept(running=past.running_release, history=past.history, keep_releases=service.keep_releases)
    return version in map(version_of, releases)


def source_elsewhere(package: Package | None, package_url: str) -> Source:
    """For an instance that no longer has the release: our store, then a download."""
    if package is not None and stored(package.sha256) is not None:
        return Source.STORE
    return Source.DOWNLOAD if package is not None or package_url else Source.NOWHERE
