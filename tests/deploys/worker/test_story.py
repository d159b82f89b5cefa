"""A target's log alone tells what happened on its node: the whole of it, compared with what it has to be."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import translation
from pytest_django import Settings

from deploys.host.reaper import reap
from deploys.models import LogLine, Operation, Target
from deploys.operations.cancel import cancel_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind, TargetStatus, Until
from deploys.told import said
from deploys.worker import work_loop
from deploys.worker.interruption import Deadlines
from inventory.models import Instance, Service
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service
from tests.support.lab import wait_until
from tests.support.lone_work_loop import kill, lone_work_loop
from tests.support.package_builder import package
from tests.support.package_host import PackageHost
from tests.support.sshd import SshServer

pytestmark = pytest.mark.django_db(transaction=True)

RunWorkLoop = Callable[[str], None]
# Of each release its own.
RESTART = "sh ./restart"
QUIET = "exit 0"
BROKEN = "echo starting; echo 'KeyError: PORT' >&2; exit 3"


class Site:
    """One instance, and what is deployed to it."""

    def __init__(self, instance: Instance, package_host: PackageHost, run_work_loop: RunWorkLoop) -> None:
        self.instance = instance
        self.package_host = package_host
        self._run = run_work_loop

    def set(self, **rules: object) -> None:
        Service.objects.update(**rules)

    def begin(self, version: str, restart: str = QUIET, **changes: object) -> Operation:
        url = self.package_host.add(f"{version}.tar.gz", package({"VERSION": f"{version}\n", "restart": restart}))
        values: dict[str, object] = {
            "service": "shop", "version": version, "instances": (self.instance.instance_id,), "package_url": url, **changes
        }  # fmt: skip
        return start_deploy(access=SCHEDULER, request=DeployRequest(**values))  # type: ignore[arg-type]

    def deploy(self, version: str, restart: str = QUIET, **changes: object) -> list[str]:
        operation = self.begin(version, restart, **changes)
        self._run("deploys")
        return story_of(operation)

    def roll_back(self) -> list[str]:
        request = InstanceRollbackRequest(instance_id=self.instance.instance_id)
        operation = start_instance_rollback(access=SCHEDULER, request=request)
        self._run("rollbacks")
        return story_of(operation)

    def runs(self, version: str) -> bool:
        current = Path(self.instance.deploy_root, "current")
        return current.is_symlink() and os.readlink(current) == f"releases/{version}"


@pytest.fixture
def site(package_host: PackageHost, settings: Settings, tmp_path: Path, run_work_loop: RunWorkLoop) -> Site:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    service = make_service("shop", restart_command=RESTART, command_timeout=20, keep_releases=2)
    (instance,) = make_instances(service, make_node(), 1, root=tmp_path)
    return Site(instance, package_host, run_work_loop)


def story_of(operation: Operation) -> list[str]:
    """Of its one target, `step| text` with `>` for what a command printed; what differs from run to run left out."""
    lines = LogLine.objects.filter(operation=operation).exclude(instance=None).order_by("seq")
    return [f"{line.step}{'|' if line.stream == 'system' else '>'} {without_figures(line.text)}" for line in lines]


def without_figures(text: str) -> str:
    text = re.sub(r"\d+\.\d+ s\b", "N s", text)
    text = re.sub(r"[\d.]+ (?:B|KiB|MiB)\b(/s)?", r"SIZE\1", text)
    text = re.sub(r"\S+@127\.0\.0\.1:\d+|127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r"claim \d+", "claim N", text)
    text = re.sub(r"(Operation|Rollback) '[^']*'", r"\1 ID", text)
    text = re.sub(r"[Ww]orker '[^']*'", "worker W", text)
    return re.sub(r"in /\S+/instance-1", "in ROOT", text)


BEGINS = "queued| worker W begins, with claim N."
HERE = "connect| Node 'node-1' is this worker's own machine."
FETCHED = "fetch| The package came from HOST, once for all instances of this worker: SIZE in N s, SIZE/s."
RESTARTS = "restart| The restart command begins. It has 20 s."
RESTARTED = "restart| The restart command ended with exit status 0 after N s."


def staged(version: str, before: str) -> list[str]:
    leads = f"`current` leads to '{before}'." if before else "`current` leads to no release."
    return [
        f"stage| {leads} Release '{version}' is not on the node.",
        f"stage| Release '{version}' is staged: SIZE sent and unpacked in N s, SIZE/s.",
    ]


def linked(version: str, before: str) -> str:
    return f"switch| `current` leads to '{version}' now; before, it led to '{before}'."


def test_a_deploy_by_ssh_with_every_step(site: Site, sshd: SshServer, settings: Settings) -> None:
    settings.SSH_KEY_FILE = str(sshd.private_key)
    instance = site.instance
    instance.node = make_node("web-1", **sshd.node_fields)
    instance.deploy_root = f"{sshd.node_root()}/instance-1"
    instance.save()
    site.set(keep_releases=1)
    site.deploy("v1")
    site.deploy("v2")
    site.set(before_switch_command="echo preparing", version_command="cat VERSION", version_timeout=10)

    assert site.deploy("v3", "echo up") == [
        BEGINS,
        FETCHED,
        "connect| Connected to node 'web-1', HOST. The connection was open already.",
        *staged("v3", "v2"),
        "before_switch| The before-switch command begins. It has 20 s.",
        "before_switch> preparing",
        "before_switch| The before-switch command ended with exit status 0 after N s.",
        linked("v3", "v2"),
        RESTARTS,
        "restart> up",
        RESTARTED,
        "verify| The version command runs until it says 'v3', for 10 s at most.",
        "verify| The version command says 'v3'.",
        "clean_up| Old releases removed: v1.",
        "done| Completed: version 'v3' runs.",
    ]


def test_quiet_commands_and_a_rollback_from_the_node(site: Site) -> None:
    assert site.deploy("v1") == [
        BEGINS,
        FETCHED,
        HERE,
        *staged("v1", ""),
        "switch| `current` leads to 'v1' now; before, it led to no release of ours.",
        RESTARTS,
        RESTARTED,
        "done| Completed: version 'v1' runs.",
    ]
    site.deploy("v2")
    assert site.roll_back() == [
        BEGINS,
        "connect| Release 'v1' is on the node from before: nothing is sent.",
        HERE,
        linked("v1", "v2"),
        RESTARTS,
        RESTARTED,
        "done| Completed: version 'v1' runs.",
    ]


def test_staged_only_and_then_deployed(site: Site) -> None:
    site.deploy("v1")
    assert site.deploy("v2", until=Until.STAGED)[-3:] == [
        *staged("v2", "v1"),
        "stage| Release 'v2' is staged. Nothing was switched, as asked for (until: staged).",
    ]
    assert site.deploy("v2")[1:4] == [
        "connect| Release 'v2' is on the node from before: nothing is sent.",
        HERE,
        linked("v2", "v1"),
    ]


def test_a_restart_that_fails(site: Site) -> None:
    site.deploy("v1")
    story = site.deploy("v2", BROKEN)
    assert story[5:7] == [linked("v2", "v1"), RESTARTS]
    assert sorted(story[7:9]) == ["restart> KeyError: PORT", "restart> starting"]
    assert story[9:] == [
        "restart| The restart command ended with exit status 3 after N s.",
        "restart| Reverted: `current` leads to 'v1' again, no longer to 'v2'.",
        "revert| The restart command begins again, for the way back.",
        "revert| The restart command of the way back ended with exit status 0 after N s.",
        f"revert| {without_figures(Target.objects.get(status=TargetStatus.FAILED).error_message)}",
    ]


def test_a_restart_that_hangs(site: Site) -> None:
    site.deploy("v1")
    site.set(command_timeout=1)
    assert site.deploy("v2", "echo waiting; sleep 60")[7:10] == [
        "restart> waiting",
        "restart| The restart command was not over after N s, and was killed.",
        "restart| Reverted: `current` leads to 'v1' again, no longer to 'v2'.",
    ]


def test_a_cancel_in_the_restart(site: Site) -> None:
    site.deploy("v1")
    operation = site.begin("v2", "sleep 60")
    deadlines = Deadlines(grace_seconds=0.2)
    work = threading.Thread(target=lambda: work_loop.run("deploys", deadlines=deadlines))
    work.start()
    wait_until(lambda: "The restart command begins" in str(story_of(operation)), what="restart", seconds=20)
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)
    work.join(timeout=30)

    assert Target.objects.get(operation=operation).status == TargetStatus.CANCELLED
    # The shell may have a word for it.
    story = [re.sub("status (124|143)", "status 124", line) for line in story_of(operation) if ">" not in line]
    assert story[7:12] == [
        "restart| Operation ID is cancelled: this instance is to stop.",
        "restart| Ending the command that runs on the node.",
        "restart| The restart command ended with exit status 124 after N s.",
        "restart| Reverted: `current` leads to 'v1' again, no longer to 'v2'.",
        "revert| The restart command begins again, for the way back.",
    ]


def test_a_rollback_that_goes_before_a_deploy(site: Site) -> None:
    for version in ("v1", "v2"):
        site.deploy(version)
    site.set(before_switch_command="sleep 60")
    operation = site.begin("v3")
    work = threading.Thread(target=lambda: work_loop.run("deploys"))
    work.start()
    wait_until(lambda: "The before-switch command begins" in str(story_of(operation)), what="command", seconds=20)
    request = InstanceRollbackRequest(instance_id=site.instance.instance_id)
    start_instance_rollback(access=SCHEDULER, request=request)
    work.join(timeout=30)

    story = [line for line in story_of(operation) if ">" not in line]
    assert story[6:8] == [
        "before_switch| Rollback ID, which scheduler asked for, goes before this deploy.",
        "before_switch| Ending the command that runs on the node.",
    ]
    assert "Superseded" in story[-1]


def test_a_worker_killed_in_the_switch(site: Site, run_work_loop: RunWorkLoop, tmp_path: Path) -> None:
    site.deploy("v1")
    operation = site.begin("v2", "until test -e ../../go; do sleep 0.05; done; echo up")
    environment = {"RELEASE_PACKAGE_HOSTS": site.package_host.netloc}
    with lone_work_loop("deploys", environment) as worker:
        wait_until(lambda: RESTARTS in story_of(operation), what="restart", seconds=30)
        kill(worker)
    before = story_of(operation)
    Path(site.instance.deploy_root, "go").touch()
    wait_until(lambda: reap() == 1, what="lease that ran out", seconds=30)
    run_work_loop("deploys")

    story = story_of(operation)
    assert story[: len(before)] == before
    assert story[len(before) :] == [
        "restart| worker W takes this instance over from claim N, which ended in step 'restart'. Asking the node 'node-1' what "
        "became of its switch.",
        HERE,
        "restart| Node 'node-1' says that the switch to 'v2' was finished. Nothing is run again.",
        "done| Completed: version 'v2' runs.",
    ]


def test_each_line_of_the_systems_own_is_told_in_the_readers_language(site: Site) -> None:
    site.set(before_switch_command="true", version_command="cat VERSION", version_timeout=10, keep_releases=1)
    for version in ("v1", "v2", "v3"):
        site.deploy(version)
    site.deploy("v4", BROKEN)
    site.roll_back()
    own = LogLine.objects.filter(stream="system").exclude(instance=None)
    assert own.count() > 30
    with translation.override("zh-hans"):
        told = [said(line.told, line.text) for line in own]
    assert [text for text in told if not re.search("[\u4e00-\u9fff]", text)] == []
