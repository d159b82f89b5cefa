"""What a stolen `deploy` token of one service can do, and what it can't: docs/security.md, tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from deploys.models import Operation
from inventory.actors import SYSTEM
from inventory.models import AuditEntry, Instance, Node, Service
from releasesite.models import ApiToken
from tests.support.api import caller, with_token
from tests.support.fleet import make_instances, make_node, make_service
from tests.support.package_builder import package, sha256
from tests.support.package_host import PackageHost, serving

pytestmark = pytest.mark.django_db(transaction=True)

EVIL = package({"app.py": "print('mine now')\n"})


@pytest.fixture
def stolen(settings: Settings, package_host: PackageHost, tmp_path: Path) -> APIClient:
    """Of the service "shop", whose neighbour on the same node is "bank"; both have a deploy behind them."""
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    settings.DATA_DIR = tmp_path / "data"
    node = make_node()
    for name in ("shop", "bank"):
        make_instances(make_service(name), node, count=1, root=tmp_path, prefix=name)
    for name in ("shop", "bank"):
        deploy(caller("deploy"), package_host, service=name, deploy_id=f"d-{name}", version="v0", content=EVIL)
    return caller("deploy", [Service.objects.get(name="shop")])


def deploy(
    client: APIClient, host: PackageHost, /, *, service: str = "shop", content: bytes = EVIL, **keys: Any
) -> Any:
    url = host.add("p.tar.gz", content)
    body = {"service": service, "version": "evil", "instances": [f"{service}-1"], "package_url": url, **keys}
    return client.post("/v1/deploy/execute", body)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


def ended(run_work_loop: Callable[[str], None], answer: Any) -> tuple[str, str]:
    assert answer.status_code == 202, answer.content
    run_work_loop("deploys")
    operation = Operation.objects.get(public_id=answer.json()["deploy_id"])
    return operation.status, operation.targets.get().error_code


def test_it_can_put_any_package_of_an_allowed_host_on_its_own_service(
    stolen: APIClient, package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    run_work_loop("deploys")

    assert ended(run_work_loop, deploy(stolen, package_host)) == ("completed", "")
    last = AuditEntry.objects.filter(action="deploy.start").latest("pk")
    assert (last.actor_kind, last.actor_name, last.service, last.actor_address) == (
        "token",
        "scheduler",
        "shop",
        "127.0.0.1",
    )


def test_a_signing_key_stops_even_that(
    stolen: APIClient, package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    run_work_loop("deploys")
    Service.objects.filter(name="shop").update(signing_key="11" * 32)

    answer = deploy(stolen, package_host, sha256=sha256(EVIL), signature="00" * 64)

    assert ended(run_work_loop, answer) == ("failed", "package_signature_invalid")


def test_it_can_fetch_from_no_host_of_its_own(
    stolen: APIClient, package_host: PackageHost, run_work_loop: Callable[[str], None], tmp_path: Path
) -> None:
    run_work_loop("deploys")
    with serving(tmp_path) as mine:
        answer = deploy(stolen, package_host, package_url=mine.add("p.tar.gz", EVIL))

        assert ended(run_work_loop, answer) == ("failed", "package_host_not_allowed")
        assert mine.requests == []


def test_it_can_stop_and_roll_back_its_own_service(stolen: APIClient) -> None:
    assert stolen.post("/v1/deploy/cancel/d-shop").status_code == 202


NEIGHBOUR: dict[str, tuple[str, str, dict[str, Any]]] = {
    "deploy": ("post", "/v1/deploy/execute", {"service": "bank", "version": "evil", "instances": ["bank-1"]}),
    "through our service": (
        "post",
        "/v1/deploy/execute",
        {"service": "shop", "version": "evil", "instances": ["bank-1"]},
    ),
    "roll back": ("post", "/v1/rollback/instance", {"instance_id": "bank-1", "target_version": "v0"}),
    "roll back all": ("post", "/v1/rollback/batch", {"service": "bank", "target_version": "v0"}),
    "stop": ("post", "/v1/deploy/cancel/d-bank", {}),
    "retry": ("post", "/v1/deploy/retry/d-bank", {}),
    "watch": ("get", "/v1/deploy/status/d-bank", {}),
    "read logs": ("get", "/v1/deploy/logs/d-bank", {}),
    "read versions": ("get", "/v1/service/bank/instances/versions", {}),
    "read hosts": ("get", "/v1/service/bank/instances", {}),
    "read history": ("get", "/v1/instance/bank-1/history", {}),
    "sync": ("post", "/v1/service/bank/sync", {}),
    "report": ("post", "/v1/instance/bank-1/report", {"health": "healthy"}),
    "report its own": ("post", "/v1/instance/shop-1/report", {"health": "healthy"}),
}


@pytest.mark.parametrize("deed", NEIGHBOUR)
def test_it_can_do_nothing_to_a_neighbour(stolen: APIClient, package_host: PackageHost, deed: str) -> None:
    method, path, body = NEIGHBOUR[deed]
    if path.endswith("execute"):
        body = {**body, "package_url": package_host.add("p.tar.gz", EVIL)}
    before = state()

    answer = getattr(stolen, method)(path, body)

    assert answer.status_code in (400, 403, 404), answer.content
    assert b"127.0.0.1" not in answer.content
    assert state() == before


def test_its_lists_show_its_own_service_alone(stolen: APIClient) -> None:
    assert [each["deploy_id"] for each in stolen.get("/v1/deploy/list").json()["deploys"]] == ["d-shop"]
    assert stolen.get("/v1/deploy/list?service=bank").json()["deploys"] == []


def test_it_tells_a_neighbours_ids_from_free_ones_by_nothing_but_their_use(
    stolen: APIClient, package_host: PackageHost
) -> None:
    """Ids are one space: to ask for one that is taken is refused, as it has to be, with nothing said about it."""
    assert code(stolen.get("/v1/deploy/status/d-bank")) == code(stolen.get("/v1/deploy/status/d-none"))
    taken = deploy(stolen, package_host, deploy_id="d-bank")
    assert code(taken) == (409, "deploy_id_reused")
    assert b"bank-1" not in taken.content


@pytest.mark.parametrize(
    "path", ["/", "/history", "/services/shop", "/admin/", "/admin/releasesite/apitoken/add/", "/deploy"]
)
def test_it_opens_no_page(stolen: APIClient, path: str) -> None:
    answer = stolen.get(path)

    assert answer.status_code == 302
    assert "/login" in answer["Location"]


def test_it_changes_no_command_node_or_key(stolen: APIClient, package_host: PackageHost) -> None:
    keys: dict[str, Any] = {
        "restart_command": "id",
        "command": "id",
        "signing_key": "",
        "deploy_root": "/",
        "host": "x",
    }

    answer = deploy(stolen, package_host, **keys)

    assert answer.status_code == 400
    assert {error["attr"] for error in answer.json()["errors"]} == set(keys)


def test_no_value_of_it_is_run_by_a_shell(
    stolen: APIClient, package_host: PackageHost, run_work_loop: Callable[[str], None], tmp_path: Path
) -> None:
    run_work_loop("deploys")
    attack = f"$(touch {tmp_path}/pwned)`touch {tmp_path}/pwned`;touch {tmp_path}/pwned"

    attacks: list[dict[str, Any]] = [{key: attack} for key in ("version", "deploy_id", "service")]
    for keys in [*attacks, {"instances": [attack]}]:
        assert deploy(stolen, package_host, **keys).status_code in (400, 404)
    assert ended(run_work_loop, deploy(stolen, package_host, reason=attack)) == ("completed", "")
    assert not (tmp_path / "pwned").exists()


def test_once_revoked_it_is_worth_nothing() -> None:
    token, secret = ApiToken.objects.issue(name="ci", scope="deploy")
    client = with_token(secret)
    assert client.get("/v1/deploy/list").status_code == 200

    token.revoke(actor=SYSTEM)

    assert code(client.get("/v1/deploy/list")) == (401, "token_revoked")


def state() -> list[Any]:
    """All that a call could have changed."""
    return [list(model.objects.order_by("pk").values()) for model in (Operation, Instance, Service, Node)]
