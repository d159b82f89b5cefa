"""Links that are signed anew: the same request, whose deploy goes on with the newer one. The host takes no other."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from deploys.models import Operation, Package
from deploys.operations import identity
from inventory.models import Instance
from tests.support.api import caller
from tests.support.fleet import make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import Behaviour, PackageHost

pytestmark = pytest.mark.django_db(transaction=True)

CONTENT = package({"app.py": "print('v1')\n"})
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RunWorkLoop = Callable[[str], None]


@pytest.fixture
def fleet(settings: Settings, package_host: PackageHost, tmp_path: Path) -> list[Instance]:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    return make_instances(make_service(), make_node(), 2, root=tmp_path)


@pytest.fixture
def url(package_host: PackageHost, fleet: list[Instance]) -> str:
    """Without its signature; the host asks for `sig=new`."""
    package_host.add("v1.tar.gz", CONTENT)
    return package_host.behave("v1.tar.gz", Behaviour(signed="sig=new"))


def execute(url: str, status: int = 202, **changes: Any) -> Any:
    body = {
        "service": "user-service",
        "version": "v1",
        "instances": ["instance-1", "instance-2"],
        "package_url": url,
        "deploy_id": "d",
        **changes,
    }
    answer = caller().post("/v1/deploy/execute", body, format="json")
    assert answer.status_code == status, answer.json()
    return answer.json()


def retry(status: int = 202, **body: str) -> Any:
    answer = caller().post("/v1/deploy/retry/d", body, format="json")
    assert answer.status_code == status, answer.json()
    return answer.json()


def ends() -> list[tuple[str, str]]:
    operation = Operation.objects.get(public_id="d")
    return list(operation.targets.filter(is_latest=True).values_list("status", "error_code"))


COMPLETED = [("completed", "")] * 2
UNREACHABLE = [("failed", "package_unreachable")] * 2


def test_a_deploy_that_waits_goes_on_with_the_newer_link(url: str, run_work_loop: RunWorkLoop) -> None:
    first = execute(f"{url}?sig=old")
    again = execute(f"{url.replace('//', '//user:secret@')}?sig=new")
    execute(f"{url}?sig=new")

    run_work_loop("deploys")

    assert again == first
    assert ends() == COMPLETED


def test_a_link_that_is_signed_anew_while_the_old_one_is_refused_is_tried_at_once(
    url: str, package_host: PackageHost, run_work_loop: RunWorkLoop
) -> None:
    package_host.behave("v1.tar.gz", Behaviour(signed="sig=new", silent_seconds=1.0))
    execute(f"{url}?sig=old")
    renewing = threading.Thread(target=renew, args=(package_host, url))
    renewing.start()

    run_work_loop("deploys")

    renewing.join(timeout=30)
    assert ends() == COMPLETED
    assert [request.path.partition("?")[2] for request in package_host.requests_for("v1.tar.gz")][-1] == "sig=new"


def renew(package_host: PackageHost, url: str) -> None:
    try:
        waiting = threading.Event()
        while not package_host.requests_for("v1.tar.gz"):
            waiting.wait(0.02)
        execute(f"{url}?sig=new")
    finally:
        connection.close()


def test_a_retry_takes_another_link(url: str, run_work_loop: RunWorkLoop) -> None:
    first = execute(f"{url}?sig=old")
    run_work_loop("deploys")
    assert ends() == UNREACHABLE

    retry(package_url=f"{url}?sig=new", sha256=SHA256.upper())
    run_work_loop("deploys")

    assert ends() == COMPLETED
    status = caller().get("/v1/deploy/status/d").json()
    assert (status["attempt"], {target["attempt"] for target in status["instances"]}) == (2, {2})
    assert status["package"]["url"] == url
    # The first request is still the same one.
    assert execute(f"{url}?sig=old") == first
    # What a later rollback would download is asked for by the link that worked.
    assert Package.objects.get().url == f"{url}?sig=new"


def test_a_retry_takes_the_link_that_the_request_came_again_with(url: str, run_work_loop: RunWorkLoop) -> None:
    execute(f"{url}?sig=old")
    run_work_loop("deploys")
    execute(f"{url}?sig=new")

    retry()
    run_work_loop("deploys")

    assert ends() == COMPLETED


def test_a_retry_whose_digest_is_not_the_packages_fails(url: str, run_work_loop: RunWorkLoop) -> None:
    execute(f"{url}?sig=old")
    run_work_loop("deploys")

    retry(package_url=f"{url}?sig=new", sha256="0" * 64)
    run_work_loop("deploys")

    assert ends() == [("failed", "package_checksum_mismatch")] * 2


def test_a_retry_with_another_digest_than_that_of_the_package_it_has_is_refused(url: str) -> None:
    execute(f"{url}?sig=new")
    operation = Operation.objects.get()
    operation.package = Package.objects.create(
        service=operation.service, version="v1", release="v1", sha256=SHA256, size_bytes=1, url=url
    )
    operation.save(update_fields=("package",))
    caller().post("/v1/deploy/cancel/d")

    errors = retry(409, sha256="0" * 64)["errors"]

    assert [(error["code"], error["attr"]) for error in errors] == [("package_digest_conflict", "sha256")]
    assert SHA256 in errors[0]["detail"]
    retry(sha256=SHA256)


def test_with_a_digest_the_package_may_lie_anywhere(url: str, run_work_loop: RunWorkLoop) -> None:
    execute("http://mirror.example.com/gone.tar.gz", sha256=SHA256)
    execute(f"{url}?sig=new", sha256=SHA256)
    run_work_loop("deploys")

    assert ends() == COMPLETED
    # Ended, it keeps the address that it had its package from.
    execute("http://mirror.example.com/gone.tar.gz", sha256=SHA256)
    assert caller().get("/v1/deploy/status/d").json()["package"]["url"] == url


def test_another_address_without_a_digest_is_another_request(url: str, package_host: PackageHost) -> None:
    execute(f"{url}?sig=new")

    for other in (package_host.url("v2.tar.gz"), url.replace("http:", "https:")):
        assert execute(other, 409)["errors"][0]["code"] == "deploy_id_reused"
    assert execute(f"{url}?sig=new", 409, sha256=SHA256)["errors"][0]["code"] == "deploy_id_reused"


def test_a_request_that_an_earlier_release_took_is_known_by_any_of_its_links(url: str) -> None:
    first = execute(f"{url}?sig=old")
    operation = Operation.objects.get()
    asked = {
        "service": "user-service",
        "version": "v1",
        "instances": ["instance-1", "instance-2"],
        "package_url": f"{url}?sig=old",
        "sha256": "",
    }
    assert operation.fingerprint == identity.fingerprint(asked)
    operation.fingerprint = identity._digest(asked)
    operation.save(update_fields=("fingerprint",))

    assert execute(f"{url}?sig=old") == first
    assert execute(f"{url}?sig=new") == first
    execute(f"{url}?sig=new", 409, version="v2")


def test_a_rollbacks_link_may_be_signed_anew_too(url: str) -> None:
    body = {"service": "user-service", "target_version": "v1", "rollback_id": "r", "instances": ["instance-1"]}

    answers = [
        caller().post("/v1/rollback/batch", {**body, "package_url": f"{url}?sig={sig}"}, format="json")
        for sig in ("old", "new")
    ]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert Operation.objects.get().package_url == f"{url}?sig=new"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"package_url": "ftp://x/y"}, ("package_url", "invalid_url")),
        ({"sha256": "abc"}, ("sha256", "invalid_sha256")),
        ({"package_url": None}, ("package_url", "null")),
        ({"url": "http://x/y"}, ("url", "unknown_field")),
    ],
)
def test_a_retry_refuses_what_is_no_link_and_no_digest(url: str, body: dict[str, Any], fault: tuple[str, str]) -> None:
    execute(f"{url}?sig=old")

    answer = caller().post("/v1/deploy/retry/d", body, format="json")

    assert answer.status_code == 400
    assert [(error["attr"], error["code"]) for error in answer.json()["errors"]] == [fault]
