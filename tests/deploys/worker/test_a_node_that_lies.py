"""A node that answers what our program never says: its own target fails, honest ones don't, and nothing of it is believed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from pytest_django import Settings

from deploys.models import LogLine, Operation, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import TargetStatus
from inventory.instances.sync import SyncResult, sync_service
from inventory.models import Instance, RunStatus, Service, StatusChange
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.lying_node import Answer, Call, Err, LyingNode, Said, honest, run_lying_node
from tests.support.package_builder import package
from tests.support.package_host import PackageHost

pytestmark = pytest.mark.django_db(transaction=True)

SHA256 = "ab" * 32
NASTY = "a\0b\x1b[31mc\rd\u202ee\x9b1mf"


@pytest.fixture
def nodes(settings: Settings) -> Iterator[tuple[LyingNode, LyingNode]]:
    """One that lies, and one that does not."""
    with run_lying_node() as liar, run_lying_node() as other:
        settings.SSH_KEY_FILE = str(liar.private_key)
        yield liar, other


@pytest.fixture
def liar(nodes: tuple[LyingNode, LyingNode]) -> LyingNode:
    return nodes[0]


@pytest.fixture
def fleet(nodes: tuple[LyingNode, LyingNode]) -> list[Instance]:
    service = make_service(restart_command="true", before_switch_command="true", command_timeout=5)
    return [
        make_instances(service, make_node(name, **node.node_fields), 1, prefix=name)[0]
        for name, node in zip(("liar", "honest"), nodes, strict=True)
    ]


@pytest.fixture
def deploy(
    package_host: PackageHost, settings: Settings, fleet: list[Instance], run_work_loop: Callable[[str], None]
) -> Callable[[], Target]:
    """Gives the lying node's target; the honest one's has completed."""

    def run() -> Target:
        settings.PACKAGE_HOSTS = (package_host.netloc,)
        url = package_host.add("v1.tar.gz", package({"app.py": "pass\n"}))
        request = DeployRequest(service="user-service", version="v1", instances=ids(fleet), package_url=url)
        operation: Operation = start_deploy(access=SCHEDULER, request=request)
        run_work_loop("deploys")
        lied, told = (operation.targets.get(instance=instance) for instance in fleet)
        assert (told.status, told.error_code) == (TargetStatus.COMPLETED, "")
        return lied

    return run


def frames(*words: str) -> Answer:
    return lambda call: [call.frames(*words)]


def flood(call: Call) -> Iterator[Said]:
    yield call.frames("begun", "step switch", "linked - v1.0.0")
    while True:
        yield call.frames("warning " + "w" * 1000) * 60


def recommanded(call: Call) -> Iterator[Said]:
    yield call.frames("begun", "step switch")
    while True:
        yield (
            call.frames("linked - v1.0.0", "step restart", "command 1 2 3") + b"x\n" * 30_000 + call.frames("end 0 0 5")
        )
        yield Err(call.frames("end 0 0 5"))


STAGED = ("begun", "current none - - -", "step stage")
LIES: list[tuple[str, Answer]] = [
    ("stage", frames("begun", f"error package_unsafe {NASTY}", "over")),
    ("stage", frames("begun", "error command_failed no", "over")),
    ("stage", frames("begun", f"error {'c' * 300} no", "over")),
    ("stage", frames(*STAGED, f"outcome {NASTY}", "over")),
    ("stage", frames("over")),
    ("stage", frames(*STAGED, "over", "outcome installed")),
    ("before_switch", frames("begun", "step before_switch", "command 1 2 3", "ended 0", "over")),
    ("before_switch", frames("begun", "over")),
    ("switch", frames("begun", "step switch", f"switched {NASTY} 0 0 0", "over")),
    ("switch", frames("begun", "step made_up", "over")),
    ("switch", frames("begun", "step switch", "command " + "9" * 30 + " 1 1", "over")),
    ("switch", flood),
    ("switch", recommanded),
]


@pytest.mark.parametrize(("task", "answer"), LIES, ids=lambda each: each if isinstance(each, str) else "")
def test_a_lie_ends_its_own_target_and_is_not_asked_for_again(
    liar: LyingNode, deploy: Callable[[], Target], task: str, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    liar.answers[task] = answer

    with caplog.at_level(logging.WARNING):
        target = deploy()

    assert (target.status, target.error_code) == (TargetStatus.FAILED, "internal_error")
    assert "Node 'liar' answered what our program never says" in target.error_message
    assert len(target.error_message) < 800
    assert len(liar.calls_of(task)) == 1
    assert target.attempt == 1
    was_sent = task == "switch"
    assert ("Nothing was switched" in target.error_message) == (not was_sent)
    target.instance.refresh_from_db()
    assert (target.instance.run_status, target.instance.running_version) == (RunStatus.UNKNOWN, "")
    texts = [
        target.error_message,
        *LogLine.objects.values_list("text", flat=True),
        *(r.getMessage() for r in caplog.records),
    ]
    assert all(text.isprintable() for text in texts)


def test_a_lie_after_the_switch_was_sent_leaves_unknown_what_runs(
    liar: LyingNode, fleet: list[Instance], deploy: Callable[[], Target]
) -> None:
    Instance.objects.filter(pk=fleet[0].pk).update(running_version="v0", running_release="v0", run_status="running")
    liar.answers["switch"] = frames("begun", "step switch", "switched v0 0 0 0 0 0 0 0 0 0 0", "over")

    target = deploy()

    target.instance.refresh_from_db()
    assert (target.instance.run_status, target.instance.running_version) == (RunStatus.UNKNOWN, "v0")


@pytest.mark.parametrize(
    "answer",
    [
        frames("begun", "current release v9 v9 -", "over", "current none - - -"),
        frames("begun", f"current release {NASTY} v9 -", "over"),
        frames("begun", "current none - - -", "current none - - -", "over"),
        frames("begun", "over"),
        frames("over"),
    ],
    ids=["after over", "form", "too many", "too few", "not begun"],
)
def test_a_sync_leaves_a_lying_nodes_instances_as_recorded_and_says_why(
    liar: LyingNode, fleet: list[Instance], answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    known = {"running_version": "v1", "running_release": "v1", "running_sha256": SHA256, "run_status": "running"}
    Instance.objects.update(**known)
    liar.answers["survey"] = answer

    with caplog.at_level(logging.WARNING):
        result = sync_service(Service.objects.get().pk)

    assert isinstance(result, SyncResult)
    assert (result.read, result.unreachable) == (1, 0)
    assert "answered what our program never says" in result.disbelieved["liar"]
    assert "as recorded" in caplog.text
    lied, told = (Instance.objects.get(pk=instance.pk) for instance in fleet)
    assert (lied.running_version, lied.run_status) == ("v1", "running")
    assert told.running_version == ""
    assert not StatusChange.objects.filter(instance=lied).exists()
    assert len(liar.calls_of("survey")) == 1


def test_an_honest_answer_from_the_same_server_is_believed(liar: LyingNode, deploy: Callable[[], Target]) -> None:
    liar.answers["switch"] = honest
    assert deploy().status == TargetStatus.COMPLETED
