from __future__ import annotations

import pytest

from deploys.host.store_retention import wanted
from deploys.models import Package
from inventory.models import Service
from tests.support.fleet import make_instances, make_node, make_service


@pytest.fixture
def service(db: None) -> Service:
    return make_service(keep_releases=2)


def pinned(service: Service, version: str) -> str:
    sha256 = version * 32
    Package.objects.create(
        service=service, version=version, release=version, sha256=sha256, size_bytes=1, url="http://p/x"
    )
    return sha256


def test_it_keeps_the_newest_packages_and_those_that_instances_can_go_back_to(
    service: Service,
) -> None:
    digests = {version: pinned(service, version) for version in ("v1", "v2", "v3", "v4", "v5")}
    (instance,) = make_instances(service, make_node(), 1)
    instance.release_history = ["v1", "v2", "v3"]
    instance.save(update_fields=("release_history",))

    assert wanted() == {digests["v2"], digests["v3"], digests["v4"], digests["v5"]}
