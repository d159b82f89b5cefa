from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from deploys.models import Package
from inventory.models import Instance, Service
from tests.support.fleet import make_instances, make_node, make_service


@pytest.fixture
def guarded_fleet(db: None, settings: Settings) -> Service:
    """More instances than may be rolled back without the password again, all on v2 and each with v1 before it."""
    settings.REAUTH_ABOVE = 2
    service = make_service()
    make_instances(service, make_node(), count=3)
    Package.objects.create(service=service, version="v1", release="v1", sha256="1" * 64, size_bytes=1, url="http://p/")
    Instance.objects.update(running_version="v2", running_release="v2", release_history=["v1", "v2"])
    return service
