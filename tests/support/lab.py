"""A small fleet that can be broken on purpose, and the invariants that must hold whatever was done to it."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.utils import translation

from deploys.models import LogLine, Operation, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import TERMINAL, OperationStatus, Step, TargetStatus, Until
from deploys.told import said
from inventory.models import Instance, StatusChange
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost

# The kernel frees the lock when a command is killed, so what overlaps.txt records is two at once, not a crash.
RESTART = """
exec 9>"$RELEASE_ROOT/restart.lock"
flock -n 9 || echo "$RELEASE_OPERATION" >>"$RELEASE_ROOT/overlaps.txt"
while [ -e "$RELEASE_ROOT/hold" ]; do sleep 0.02; done
echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/restarts.txt"
! [ -e "$RELEASE_ROOT/current/broken" ]
"""


LIBRARY: dict[str, str | bytes] = {f"lib/{number}": random.Random(number).randbytes(2000) for number in range(20)}


@dataclass(frozen=True, kw_only=True)
class Lab:
    instances: Sequence[Instance]
    package_host: PackageHost
    faults: Path

    @classmethod
    def build(
        cls, folder: Path, package_host: PackageHost, *, count: int = 1, command_timeout: int = 20, **node: object
    ) -> Lab:
        root = node.pop("root", folder / "srv")
        service = make_service(
            restart_command=RESTART, before_switch_command="true", command_timeout=command_timeout, keep_releases=5
        )
        faults = folder / "faults"
        faults.mkdir()
        instances = make_instances(service, make_node(**node), count, root=root)  # type: ignore[arg-type]
        return cls(instances=instances, package_host=package_host, faults=faults)

    @property
    def environment(self) -> dict[str, str]:
        """For worker processes."""
        return {"RELEASE_PACKAGE_HOSTS": self.package_host.netloc, "RELEASE_FAULT_DIR": str(self.faults)}

    def deploy(
        self,
        version: str,
        *,
        broken: bool = False,
        instances: Sequence[Instance] | None = None,
        until: Until = Until.SWITCHED,
        confirm_within: int = 0,
    ) -> Operation:
        url = self.add_package(version, broken=broken)
        return start_deploy(
            access=SCHEDULER,
            request=DeployRequest(
                service="user-service",
                version=version,
                instances=ids(self.instances if instances is None else instances),
                package_url=url,
                until=until,
                confirm_within=confirm_within,
            ),
        )

    def add_package(self, version: str, *, broken: bool = False) -> str:
        """Most of it is the same in all versions: what differs is sent, where another one is on the node."""
        files = {**LIBRARY, "app.py": f"print('{version}')\n" * 200, "data/blob": version * 1000}
        if broken:
            files["broken"] = "yes"
        return self.package_host.add(f"{version}.tar.gz", package(files))

    def roll_back(self, instance: Instance, version: str | None = None, *, hold: bool = False) -> Operation:
        return start_instance_rollback(
            access=SCHEDULER,
            request=InstanceRollbackRequest(instance_id=instance.instance_id, target_version=version, hold=hold),
        )

    def hold(self, step: str) -> Path:
        """Holds the next worker that comes to this step, until the file is removed."""
        held = self.faults / f"{step}.hold"
        held.touch()
        return held

    def wait_until_held(self, step: str, *, seconds: float = 30) -> None:
        wait_until((self.faults / f"{step}.reached").exists, what=f"a worker at step {step}", seconds=seconds)


def wait_until(is_so: Callable[[], bool], *, what: str, seconds: float) -> float:
    """Returns after how many seconds it was so."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < seconds, f"no {what} within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - began


def wait_for_end(operation: Operation, *, seconds: float) -> float:
    def has_ended() -> bool:
        operation.refresh_from_db()
        return operation.finished_at is not None

    return wait_until(has_ended, what=f"end of {operation}", seconds=seconds)


def check_invariants(instances: Sequence[Instance]) -> None:
    """FAULTS.md's invariants, at a quiet moment: nothing is unfinished, database and nodes agree, the rows chain up."""
    unfinished = Target.objects.exclude(status__in=TERMINAL)
    assert not unfinished.exists(), list(unfinished.values("operation__public_id", "status", "step"))
    assert not Operation.objects.filter(finished_at=None).exists()
    _check_frozen_counts()
    _check_sentences()
    for instance in instances:
        instance.refresh_from_db()
        check_link(instance)
        link = Path(instance.deploy_root, "current")
        assert (os.readlink(link) if link.is_symlink() else "releases/") == f"releases/{instance.running_release}"
        overlaps = Path(instance.deploy_root, "overlaps.txt")
        assert not overlaps.exists(), overlaps.read_text()
        check_chain(instance)
    for operation in Operation.objects.all():
        seqs = list(LogLine.objects.filter(operation=operation).order_by("seq").values_list("seq", flat=True))
        assert seqs == list(range(1, len(seqs) + 1)), f"{operation} lost log lines"


def check_link(instance: Instance) -> None:
    """`current`, if there is one, leads to a whole release: its last file is there, with its note."""
    current = Path(instance.deploy_root, "current")
    if not current.is_symlink():
        return
    version = os.readlink(current).removeprefix("releases/")
    release = Path(instance.deploy_root, "releases", version)
    assert (release / ".release.json").is_file(), f"{release} has no note"
    assert (release / "app.py").read_text() == f"print('{version}')\n" * 200
    assert (release / "data/blob").read_text() == version * 1000


def check_chain(instance: Instance) -> None:
    changes = StatusChange.objects.filter(instance=instance).order_by("id")
    last: dict[object, str] = {}
    for change in changes:
        chain = (
            (change.field, change.operation_id, change.attempt)
            if change.field == StatusChange.Field.TARGET
            else change.field
        )
        assert change.old == last.get(chain, change.old), f"{instance}: {change} does not follow {last[chain]}"
        assert change.old != change.new
        last[chain] = change.new
    assert last.get(StatusChange.Field.VERSION, "") == instance.running_version


def _check_sentences() -> None:
    """Whatever ended a target told why in sentences, which a Chinese page says in Chinese; a failure has its code and step."""
    for target in Target.objects.exclude(error_message=""):
        with translation.override("zh-hans"):
            told = said(target.error_told, target.error_message)
        assert re.search("[一-鿿]", told), target.error_message
    assert not Target.objects.filter(status=TargetStatus.FAILED, error_code="").exists()
    assert not Target.objects.exclude(error_code="").filter(step=Step.REVERT).exists()


def _check_frozen_counts() -> None:
    """What was frozen on the operation equals what its targets say."""
    for operation in Operation.objects.all():
        statuses = list(operation.targets.filter(is_latest=True).values_list("status", flat=True))
        assert operation.completed == statuses.count(TargetStatus.COMPLETED)
        assert operation.failed == statuses.count(TargetStatus.FAILED)
        assert operation.cancelled == len(statuses) - operation.completed - operation.failed
        assert (operation.status == OperationStatus.COMPLETED) == (operation.completed == operation.total)
