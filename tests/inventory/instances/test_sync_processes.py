"""A sync asks what runs, too, by the service's version command: what it says is kept beside where the link leads."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from inventory.actors import SYSTEM
from inventory.instances.sync_processes import forget_processes
from inventory.models import Instance, Node, Service, StatusChange
from inventory.nodes import processes
from tests.inventory.instances.test_sync import at_work, changes, instances, node, root, run_sync, switch
from tests.support.fleet import make_instances, make_service
from tests.support.ports import free_port

__all__ = ("instances", "node", "root")
pytestmark = pytest.mark.django_db


def version_command(command: str) -> None:
    Service.objects.update(version_command=command)


def said() -> list[str]:
    return list(Instance.objects.order_by("natural_key").values_list("process_version", flat=True))


def test_what_each_process_says_is_kept_and_its_drift_told(instances: list[Instance]) -> None:
    version_command(
        'cd ../.. && pwd -P | grep -q "$RELEASE_INSTANCE" && [ "$RELEASE_ROOT" -ef . ] || exit\n'
        '[ $RELEASE_PORT = 8002 ] && echo "v0 " && echo and more || echo "$RELEASE_VERSION"; echo noise >&2'
    )

    run_sync()
    run_sync()

    assert said() == ["v1", "v0", "v1"]
    assert [instance.drift for instance in Instance.objects.order_by("natural_key")] == [None, "process", None]
    assert changes(instances[1]) == [("process", "", "v0", "drift: v1 is linked")]
    assert changes(instances[0]) == [("process", "", "v1", "said by the version command")]
    assert StatusChange.objects.filter(instance=instances[0]).get().actor_name == "node-1"


@pytest.mark.parametrize("node", ["local"], indirect=True)
def test_one_that_hangs_or_floods_takes_nothing_from_the_others(
    instances: list[Instance], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "COMMAND_SECONDS", 2)
    Instance.objects.update(process_version="v0")
    version_command(
        "case $RELEASE_PORT in 8001) sleep 70 & echo $! >../../pid; trap '' TERM; wait;;\n"
        "8002) yes | tr -d '\\n'; yes >&2;; *) echo token=hunter2-hunter2 v1;; esac"
    )
    began = time.monotonic()

    result = run_sync()

    assert (result.read, result.unreachable) == (3, 0)
    hung, flooded, secret = said()
    assert (hung, flooded) == ("", f"{'y' * 99}…")
    assert "hunter2" not in secret
    assert time.monotonic() - began < 8
    assert not psutil.pid_exists(int((root / "instance-1/pid").read_text()))


@pytest.mark.parametrize("node", ["local"], indirect=True)
def test_where_nothing_runs_or_an_operation_works_nothing_is_asked(instances: list[Instance]) -> None:
    Instance.objects.update(process_version="v0")
    version_command('touch "$RELEASE_ROOT/asked"; echo v1')
    at_work(instances[0])
    switch(instances[1], "../elsewhere")

    run_sync()

    asked = [(Path(instance.deploy_root) / "asked").exists() for instance in instances]
    assert asked == [False, False, True]
    assert said() == ["v0", "", "v1"]


def test_a_node_that_can_not_be_reached_is_not_asked_again(db: None) -> None:
    address = {"host": "127.0.0.1", "ssh_port": free_port(), "ssh_user": "x", "ssh_host_key": "ssh-ed25519 AAAA"}
    far = Node.objects.create(name="far", transport="ssh", **address)
    make_instances(make_service(version_command="echo v1"), far, 1)
    Instance.objects.update(running_release="v1", process_version="v1")

    assert run_sync().unreachable == 1

    assert said() == ["v1"]


def test_without_a_version_command_nothing_is_known_of_processes(instances: list[Instance]) -> None:
    Instance.objects.update(process_version="v1")

    run_sync()

    assert said() == ["", "", ""]
    assert changes(instances[0]) == [("process", "v1", "", "the service has no version command")]
    forget_processes([instances[0].service_id], actor=SYSTEM)
    assert StatusChange.objects.count() == 3
