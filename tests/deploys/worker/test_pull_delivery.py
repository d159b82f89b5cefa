"""`delivery: pull`: a real node fetches the artifact itself, with curl or with wget, from a real web process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_django import Settings

from deploys.models import LogLine, Operation, Target
from deploys.node.session import NodeError, StaleFence
from deploys.operations.start import DeployRequest, start_deploy
from deploys.packages import artifact_links
from deploys.packages.store import Artifact
from deploys.states import OperationStatus
from inventory.models import Delivery, Instance
from inventory.nodes.transports.base import TransportError
from tests.deploys.node.node_lab import NodeLab
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import Behaviour, PackageHost
from tests.support.sshd import SshServer
from tests.support.web import Web, running_web

TOOLS = pytest.mark.parametrize("tool", ["curl", "wget"])
FETCHERS = ("curl", "wget")


def only(tool: str, folder: Path) -> str:
    """A PATH with every program of this machine but curl and wget; `tool` is there all the same."""
    folder.mkdir()
    folder.chmod(0o755)
    for place in ("/bin", "/usr/bin"):
        for program in os.scandir(place):
            link = folder / program.name
            if (program.name not in FETCHERS or program.name == tool) and not link.is_symlink():
                link.symlink_to(program.path)
    if tool:
        assert (folder / tool).exists(), f"{tool} is missing: install it (`make test` does, where it may)"
    return str(folder)


# A node and a web server that may misbehave.


@pytest.fixture
def tool() -> str:
    return "curl"


@pytest.fixture
def fetching(lab: NodeLab, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeLab:
    """A local node with that tool alone."""
    monkeypatch.setenv("PATH", only(tool, tmp_path / "programs"))
    return lab


def served(lab: NodeLab, host: PackageHost) -> tuple[Artifact, str]:
    artifact = lab.artifact("1.0.0")
    return artifact, host.add("artifact", artifact.path.read_bytes()) + "?expires=1&signature=a-secret-word"


@TOOLS
def test_it_installs_what_it_has_fetched(fetching: NodeLab, package_host: PackageHost) -> None:
    artifact, url = served(fetching, package_host)

    staged = fetching.stage("1.0.0", fence=1, artifact=artifact, url=url)

    assert staged.outcome == "installed"
    assert (fetching.release("1.0.0") / "VERSION").read_bytes() == b"1.0.0"
    assert fetching.stage("1.0.0", fence=2, artifact=artifact, url=url).outcome == "present"
    assert len(package_host.requests_for("artifact")) == 1
    assert fetching.leftovers() == []


@TOOLS
@pytest.mark.parametrize("trouble", [Behaviour(status=503, times=1), Behaviour(cut_after=100, times=1)])
def test_it_tries_again_after_trouble_that_passes(
    fetching: NodeLab, package_host: PackageHost, trouble: Behaviour
) -> None:
    artifact, url = served(fetching, package_host)
    package_host.behave("artifact", trouble)

    assert fetching.stage("1.0.0", fence=1, artifact=artifact, url=url).outcome == "installed"

    assert len(package_host.requests_for("artifact")) == 2


@TOOLS
def test_other_bytes_than_ours_are_never_unpacked(fetching: NodeLab, package_host: PackageHost) -> None:
    artifact, url = served(fetching, package_host)
    other = replace(artifact, artifact_sha256=hashlib.sha256(b"other").hexdigest())

    with pytest.raises(NodeError, match="RELEASE_PUBLIC_URL") as caught:
        fetching.stage("1.0.0", fence=1, artifact=other, url=url)

    assert caught.value.code == "package_checksum_mismatch"
    assert fetching.releases() == []
    assert fetching.leftovers() == []


@TOOLS
def test_a_link_that_is_refused_is_told_at_once_and_without_its_signature(
    fetching: NodeLab, package_host: PackageHost
) -> None:
    artifact, url = served(fetching, package_host)
    package_host.behave("artifact", Behaviour(status=403))

    with pytest.raises(NodeError, match="403") as caught:
        fetching.stage("1.0.0", fence=1, artifact=artifact, url=url)

    assert caught.value.code == "package_unreachable"
    assert "signature" not in caught.value.message
    assert len(package_host.requests_for("artifact")) == 1


@pytest.mark.parametrize("tool", [""])
def test_a_node_with_neither_tool_says_what_to_do(fetching: NodeLab, package_host: PackageHost) -> None:
    artifact, url = served(fetching, package_host)

    with pytest.raises(NodeError, match="neither curl nor wget") as caught:
        fetching.stage("1.0.0", fence=1, artifact=artifact, url=url)

    assert caught.value.code == "package_unreachable"
    assert "delivery: push" in caught.value.message


@TOOLS
def test_a_server_that_falls_silent_is_given_up_in_time(fetching: NodeLab, package_host: PackageHost) -> None:
    artifact, url = served(fetching, package_host)
    package_host.behave("artifact", Behaviour(silent_seconds=60))
    began = time.monotonic()

    with pytest.raises(NodeError) as caught:
        fetching.stage("1.0.0", fence=1, artifact=artifact, url=url, timeout_seconds=8)

    assert caught.value.code == "package_unreachable"
    assert time.monotonic() - began < 8


@TOOLS
def test_no_process_list_shows_the_signature(fetching: NodeLab, package_host: PackageHost) -> None:
    artifact, url = served(fetching, package_host)
    package_host.behave("artifact", Behaviour(silent_seconds=1))
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            shown = subprocess.run(["ps", "axeww", "-o", "args"], capture_output=True, text=True, check=True)
            seen.update(shown.stdout.splitlines())

    watching = threading.Thread(target=look)
    watching.start()
    fetching.stage("1.0.0", fence=1, artifact=artifact, url=url)
    over.set()
    watching.join()

    assert any("-o upload" in line or "-O upload" in line for line in seen)
    assert not any("a-secret-word" in line for line in seen)


@TOOLS
def test_a_full_disk_is_called_so(fetching: NodeLab, package_host: PackageHost) -> None:
    """/dev/full stands in for the disk: whatever is written there has no room."""
    artifact, url = served(fetching, package_host)
    claim = fetching.root / ".release" / "claim.1"
    claim.mkdir(parents=True)
    (fetching.root / ".release" / "seals").mkdir()
    (fetching.root / "releases").mkdir()
    (claim / "upload").symlink_to("/dev/full")

    with pytest.raises(NodeError) as caught:
        fetching.stage("1.0.0", fence=1, artifact=artifact, url=url)

    assert caught.value.code == "node_disk_full", caught.value.message


@TOOLS
def test_a_newer_claim_does_not_wait_for_a_download(fetching: NodeLab, package_host: PackageHost) -> None:
    artifact, url = served(fetching, package_host)
    package_host.behave("artifact", Behaviour(silent_seconds=30, times=1))
    older = threading.Thread(target=_stage_in_vain, args=(fetching, artifact, url))
    older.start()
    while not package_host.requests_for("artifact"):
        time.sleep(0.02)
    began = time.monotonic()

    assert fetching.stage("1.0.0", fence=2, artifact=artifact, url=url).outcome == "installed"

    assert time.monotonic() - began < 10
    older.join()


def _stage_in_vain(lab: NodeLab, artifact: Artifact, url: str) -> None:
    with contextlib.suppress(TransportError, StaleFence, NodeError):
        lab.stage("1.0.0", fence=1, artifact=artifact, url=url)


# A whole deploy, over sshd and gunicorn.


@pytest.fixture
def web(transactional_db: None) -> Iterator[Web]:
    with running_web() as web:
        yield web


@pytest.fixture
def fleet(own_sshd: SshServer, settings: Settings, package_host: PackageHost) -> list[Instance]:
    """Three instances on one node that pulls."""
    settings.SSH_KEY_FILE = str(own_sshd.private_key)
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    service = make_service(restart_command='echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/restarts"')
    node = make_node(delivery=Delivery.PULL, **own_sshd.node_fields)
    return make_instances(service, node, root=own_sshd.node_root())


@pytest.fixture
def deploy(
    fleet: list[Instance], package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> Callable[[], Operation]:
    def run() -> Operation:
        url = package_host.add("v1.tar.gz", package({"app.py": f"print({time.time()})\n" * 100}))
        request = DeployRequest(service="user-service", version="v1", instances=ids(fleet), package_url=url)
        operation = start_deploy(access=SCHEDULER, request=request)
        run_work_loop("deploys")
        operation.refresh_from_db()
        return operation

    return run


def log_in_with_only(tool: str, sshd: SshServer) -> None:
    path = only(tool, sshd.folder / "programs")
    sshd.stop()
    with (sshd.folder / "sshd_config").open("a") as configuration:
        configuration.write(f"SetEnv PATH={path}\n")
    sshd.start()


def said(operation: Operation) -> str:
    lines = LogLine.objects.filter(operation=operation).values_list("text", flat=True)
    return "\n".join([*lines, *Target.objects.filter(operation=operation).values_list("error_message", flat=True)])


@TOOLS
@pytest.mark.django_db(transaction=True)
def test_a_node_fetches_once_for_all_of_its_instances(
    web: Web, own_sshd: SshServer, deploy: Callable[[], Operation], settings: Settings, tool: str
) -> None:
    settings.PUBLIC_URL = web.url
    log_in_with_only(tool, own_sshd)

    operation = deploy()

    assert operation.status == OperationStatus.COMPLETED, said(operation)
    for target in operation.targets.select_related("instance"):
        root = Path(target.instance.deploy_root)
        assert (root / "current" / "app.py").is_file()
        assert (root / "restarts").read_text() == "v1\n"
    assert web.log.count("request_finished") == 1
    assert not re.search(r"signature=(?!\[redacted\])", web.log)
    assert "signature=" not in said(operation)


@pytest.mark.django_db(transaction=True)
def test_an_expired_link_fails_the_target_and_leaves_the_node_as_it_was(
    web: Web, deploy: Callable[[], Operation], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PUBLIC_URL = web.url
    monkeypatch.setattr(artifact_links, "VALID_SECONDS", -1)

    operation = deploy()

    assert operation.status == OperationStatus.FAILED
    for target in operation.targets.select_related("instance"):
        assert target.error_code == "package_unreachable"
        assert "403" in target.error_message
        assert not (Path(target.instance.deploy_root) / "current").exists()
    assert "signature=" not in said(operation)


@pytest.mark.django_db(transaction=True)
def test_without_the_address_of_our_web_the_target_fails_and_says_what_to_set(
    deploy: Callable[[], Operation],
) -> None:
    operation = deploy()

    target = operation.targets.first()
    assert target is not None
    assert target.error_code == "package_unreachable"
    assert "RELEASE_PUBLIC_URL" in target.error_message


def test_both_tools_are_on_this_machine() -> None:
    assert [name for name in FETCHERS if shutil.which(name) is None] == []
