"""What the database refuses ends its own target, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings

from deploys.models import LogLine, Operation
from deploys.operations.start import DeployRequest, start_deploy
from inventory.models import Instance
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost

pytestmark = pytest.mark.django_db(transaction=True)

RESTART = 'echo before; [ "$RELEASE_INSTANCE" != instance-2 ] || { %s; }; echo after'


@contextmanager
def refusing(table: str, condition: str) -> Iterator[None]:
    """The database itself takes no row of this table that does not fulfil the condition."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT test_refuses CHECK ({condition}) NOT VALID")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT test_refuses")


@pytest.fixture
def deploy(
    tmp_path: Path, package_host: PackageHost, settings: Settings, run_work_loop: Callable[[str], None]
) -> Callable[..., Operation]:
    """Of six instances on two nodes, of which instance-2 is the one to be refused."""

    def run(restart: str, *, before_switch: str = "") -> Operation:
        settings.PACKAGE_HOSTS = (package_host.netloc,)
        service = make_service(restart_command=restart, before_switch_command=before_switch, command_timeout=20)
        fleet = [
            *make_instances(service, make_node("node-1"), 3, root=tmp_path),
            *make_instances(service, make_node("node-2"), 3, root=tmp_path, prefix="other"),
        ]
        url = package_host.add("v1.tar.gz", package({"app.py": "print('v1')\n"}))
        request = DeployRequest(service="user-service", version="v1", instances=ids(fleet), package_url=url)
        operation = start_deploy(access=SCHEDULER, request=request)
        run_work_loop("deploys")
        operation.refresh_from_db()
        return operation

    return run


def of_refused(operation: Operation) -> tuple[str, str, str]:
    target = operation.targets.get(instance__instance_id="instance-2")
    assert target.claims == 1
    return target.status, target.error_code, target.error_message


def others(operation: Operation) -> set[str]:
    return set(operation.targets.exclude(instance__instance_id="instance-2").values_list("status", flat=True))


def test_a_line_of_the_log(deploy: Callable[..., Operation], caplog: pytest.LogCaptureFixture) -> None:
    with refusing("deploys_logline", "text <> 'poison'"):
        operation = deploy(RESTART % "echo poison")

    status, code, message = of_refused(operation)
    assert (status, code) == ("failed", "internal_error")
    assert "a line of its log" in message
    assert "Sync the service" in message
    assert Instance.objects.get(instance_id="instance-2").running_version == "v1"
    assert others(operation) == {"completed"}
    lines = LogLine.objects.filter(operation=operation, stream="stdout").values_list("text", flat=True)
    assert list(lines).count("before") == list(lines).count("after") == 6
    assert any(record.exc_info for record in caplog.records if "refuses an event" in record.getMessage())


def test_a_line_before_the_switch_which_is_then_not_begun(deploy: Callable[..., Operation]) -> None:
    with refusing("deploys_logline", "text <> 'poison'"):
        operation = deploy(
            'touch "$RELEASE_ROOT/restarted"',
            before_switch=f'cd "$RELEASE_ROOT" && {RESTART % "echo poison; sleep 0.5"}',
        )

    status, code, message = of_refused(operation)
    assert (status, code) == ("failed", "internal_error")
    assert "Nothing was switched" in message
    refused = Instance.objects.get(instance_id="instance-2")
    assert refused.running_version == ""
    assert not Path(refused.deploy_root, "restarted").exists()
    assert others(operation) == {"completed"}


def test_the_end_itself(deploy: Callable[..., Operation]) -> None:
    with refusing("deploys_target", "error_code <> 'command_failed'"):
        operation = deploy(RESTART % "exit 3")

    status, code, message = of_refused(operation)
    assert (status, code) == ("failed", "internal_error")
    assert "its end" in message
    assert Instance.objects.get(instance_id="instance-2").run_status == "unknown"
    assert others(operation) == {"completed"}


def test_a_target_of_which_every_line_is_refused_makes_few_attempts(
    deploy: Callable[..., Operation], caplog: pytest.LogCaptureFixture
) -> None:
    with refusing("deploys_logline", "text NOT LIKE 'poison%'"):
        operation = deploy(RESTART % "for n in $(seq 1 500); do echo poison $n; done")

    assert of_refused(operation)[:2] == ("failed", "internal_error")
    assert others(operation) == {"completed"}
    assert sum("refuses an event" in record.getMessage() for record in caplog.records) < 60
