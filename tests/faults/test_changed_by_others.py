"""What a target says when something on its node was changed by others, or when the way back fails: nothing untrue."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from deploys.models import LogLine, Operation, Target
from deploys.operations.cancel import cancel_operation
from deploys.operations.queries import operation_payload
from deploys.states import Kind, Step, TargetStatus
from deploys.worker import work_loop
from deploys.worker.interruption import Deadlines
from inventory.models import Instance, RunStatus
from tests.support.fleet import SCHEDULER
from tests.support.lab import Lab, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

RunWorkLoop = Callable[[str], None]


@pytest.fixture(params=["local", "ssh"])
def any_lab(request: pytest.FixtureRequest) -> Lab:
    lab: Lab = request.getfixturevalue("lab" if request.param == "local" else "far_lab")
    return lab


def deploy(lab: Lab, version: str, run_work_loop: RunWorkLoop) -> Target:
    operation = lab.deploy(version, instances=lab.instances[:1])
    run_work_loop("deploys")
    return operation.targets.select_related("instance").get()


def commands(instance: Instance, **changed: object) -> None:
    """From now on, for the instance's service."""
    for name, value in changed.items():
        setattr(instance.service, name, value)
    instance.service.save()


CHANGES = {
    'rm -rf "$RELEASE_ROOT"': "There is no deploy root {root}. There is no `current`",
    'mv "$RELEASE_ROOT/releases" "$RELEASE_ROOT/away"': "There is no {root}/releases. `current` leads to no",
    "rm ../../current; mkdir ../../current": "{root}/current is a folder, not our link to a release. `current` leads to no",
}


def test_each_change_between_staging_and_switch_has_its_own_sentence(any_lab: Lab, run_work_loop: RunWorkLoop) -> None:
    instance = any_lab.instances[0]
    for change, sentence in CHANGES.items():
        commands(instance, before_switch_command="true")
        assert deploy(any_lab, "v1", run_work_loop).status == TargetStatus.COMPLETED
        commands(instance, before_switch_command=change)
        target = deploy(any_lab, "v2", run_work_loop)
        assert (target.status, target.error_code, target.step) == ("failed", "switch_failed", Step.SWITCH)
        assert sentence.format(root=instance.deploy_root) in target.error_message
        assert f"On node '{instance.node.name}'" in target.error_message
        assert "old version runs" not in target.error_message
        current = Path(instance.deploy_root, "current")
        if current.is_dir() and not current.is_symlink():
            current.rmdir()


@pytest.mark.parametrize(("back", "how"), [("exit 4", "ended with exit status 4"), ("sleep 30", "took too long")])
def test_a_way_back_whose_restart_fails_too_is_not_called_restarted(
    any_lab: Lab, run_work_loop: RunWorkLoop, back: str, how: str
) -> None:
    instance = any_lab.instances[0]
    deploy(any_lab, "v1", run_work_loop)
    commands(instance, restart_command=f"[ $RELEASE_VERSION = v1 ] || exit 3; {back}", command_timeout=1)
    target = deploy(any_lab, "v2", run_work_loop)

    assert (target.status, target.error_code, target.step) == ("failed", "revert_failed", Step.RESTART)
    assert "'v2' ended with exit status 3" in target.error_message
    assert f"leads to 'v1' again, but its restart {how}" in target.error_message
    assert "was restarted" not in target.error_message
    assert (target.instance.running_version, target.instance.run_status) == ("v1", RunStatus.UNKNOWN)
    assert os.readlink(f"{instance.deploy_root}/current") == "releases/v1"


def test_a_link_that_does_not_go_back_says_why_and_what_is_current(any_lab: Lab, run_work_loop: RunWorkLoop) -> None:
    instance = any_lab.instances[0]
    deploy(any_lab, "v1", run_work_loop)
    commands(instance, restart_command="rm ../../current; mkdir ../../current; exit 3")
    target = deploy(any_lab, "v2", run_work_loop)

    assert (target.status, target.error_code, target.step) == ("failed", "revert_failed", Step.RESTART)
    assert "is not a link" in target.error_message
    assert "no previous release" not in target.error_message
    assert (target.reverted, target.instance.run_status) == (False, RunStatus.UNKNOWN)


def test_a_release_before_that_was_removed_is_not_called_none(any_lab: Lab, run_work_loop: RunWorkLoop) -> None:
    instance = any_lab.instances[0]
    deploy(any_lab, "v1", run_work_loop)
    commands(instance, restart_command="rm -rf ../v1; exit 3")
    target = deploy(any_lab, "v2", run_work_loop)

    assert (target.error_code, target.step, target.reverted) == ("command_failed", Step.RESTART, False)
    assert "'v1', is no longer on the node" in target.error_message
    assert "`current` leads to 'v2'." in target.error_message


def test_the_same_version_again_had_something_to_go_back_to_but_nothing_else(
    lab: Lab, run_work_loop: RunWorkLoop
) -> None:
    deploy(lab, "v1", run_work_loop)
    commands(lab.instances[0], restart_command="exit 3")
    target = deploy(lab, "v1", run_work_loop)
    assert "'v1' had been current before, too" in target.error_message
    assert "no previous release" not in target.error_message


def test_a_rollback_says_what_was_not_intact_and_stages_it_again(any_lab: Lab, run_work_loop: RunWorkLoop) -> None:
    instance = any_lab.instances[0]
    deploy(any_lab, "v1", run_work_loop)
    deploy(any_lab, "v2", run_work_loop)
    Path(instance.deploy_root, "releases/v1/app.py").write_text("evil")
    rollback = any_lab.roll_back(instance)
    run_work_loop("rollbacks")

    assert rollback.targets.get().status == TargetStatus.COMPLETED
    assert f"{instance.deploy_root}/releases/v1/app.py was changed or removed" in log_of(rollback)


def test_a_deploy_that_waits_for_a_frozen_switch_says_so_and_when_it_goes_on(
    any_lab: Lab, run_work_loop: RunWorkLoop
) -> None:
    instance = any_lab.instances[0]
    deploy(any_lab, "v1", run_work_loop)
    frozen_in_mid_switch(any_lab, instance)
    program = int(last_owner(instance))

    operation = any_lab.deploy("v3", instances=[instance])
    thread = threading.Thread(target=run_work_loop, args=("deploys",))
    thread.start()
    try:
        waits = f"program (pid {program}), which is in the middle of a switch, at most 100 s"
        wait_until(lambda: waits in log_of(operation), what="line that says so", seconds=20)
    finally:
        os.kill(program, signal.SIGCONT)
        thread.join(timeout=60)
    assert "program has ended; going on" in log_of(operation)
    assert operation.targets.get().status == TargetStatus.COMPLETED


def frozen_in_mid_switch(lab: Lab, instance: Instance) -> None:
    """A deploy of v2 is cancelled while the node's program, stopped in its restart, says nothing: its end is not known."""
    Path(instance.deploy_root, "hold").touch()
    operation = lab.deploy("v2", instances=[instance])
    short = Deadlines(grace_seconds=0.2, bound_seconds=1.5, abort_seconds=1)
    thread = threading.Thread(target=partial(work_loop.run, "deploys", deadlines=short))
    thread.start()
    in_restart = operation.targets.filter(step=Step.RESTART)
    wait_until(in_restart.exists, what="restart", seconds=30)
    os.kill(int(last_owner(instance)), signal.SIGSTOP)
    Path(instance.deploy_root, "hold").unlink()
    cancel_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)
    thread.join(timeout=30)
    target = operation.targets.get()
    assert (target.status, target.error_code) == (TargetStatus.CANCELLED, "cancelled_in_switch")
    payload = operation_payload(SCHEDULER, Kind.DEPLOY, operation.public_id)
    assert payload["instances"][0]["error"] == {"code": "cancelled_in_switch", "message": target.error_message}
    assert "did not say in time what became of the switch" in target.error_message


def last_owner(instance: Instance) -> str:
    """The process of the newest claim's program."""
    claims = Path(instance.deploy_root, ".release").glob("claim.*")
    newest = max(claims, key=lambda claim: int(claim.suffix[1:]))
    owners = [line for line in (newest / "state").read_text().splitlines() if line.startswith("owner")]
    return owners[-1].split()[1]


def log_of(operation: Operation) -> str:
    return "\n".join(LogLine.objects.filter(operation=operation, stream="system").values_list("text", flat=True))
