"""What release folders are called and which are kept: the same cases over Python, SQL and the real node program."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from deploys.host.store_retention import wanted
from deploys.models import Package
from deploys.states import Source
from inventory.actors import SYSTEM
from inventory.instances.facts import Change, Effect, record
from inventory.models import Instance
from inventory.releases import kept, kept_by_switch, release_of, version_of
from rollbacks.plan import build_plan
from tests.deploys.node.node_lab import NodeLab, sha256_of
from tests.support.fleet import make_instances, make_node, make_service

DIGEST = "0123456789ab" + 52 * "c"


class Case(NamedTuple):
    """An instance that ran these, and then is switched. on_node: what the clean-up leaves. kept: what counts as kept."""

    ran: list[str]
    runs: str
    switched_to: str
    keep_releases: int
    on_node: set[str]
    kept: set[str]


CASES = {
    "the newest": Case(["v1", "v2", "v3"], "v3", "v4", 3, {"v2", "v3", "v4"}, {"v2", "v3", "v4"}),
    "fewer than may be kept": Case(["v1"], "v1", "v2", 5, {"v1", "v2"}, {"v1", "v2"}),
    "the one before, always": Case(["v1", "v2"], "v2", "v3", 1, {"v2", "v3"}, {"v2", "v3"}),
    "the one before a broken one": Case(["v1", "v2"], "v3", "v4", 1, {"v2", "v3", "v4"}, {"v2", "v4"}),
    "one that ran twice counts once": Case(
        ["v1", "v2", "v3", "v2", "v3"], "v3", "v4", 4, {"v1", "v2", "v3", "v4"}, {"v1", "v2", "v3", "v4"}
    ),
    "back, and further back": Case(["v1", "v2", "v3"], "v3", "v2", 2, {"v1", "v2", "v3"}, {"v1", "v2"}),
    "back by two": Case(["v0", "v1", "v2", "v3"], "v3", "v1", 2, {"v0", "v1", "v3"}, {"v0", "v1"}),
}


@pytest.mark.django_db
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_python_sql_and_the_node_keep_the_same(case: Case, lab: NodeLab) -> None:
    existing = sorted({*case.ran, case.runs, case.switched_to})
    instance = recorded(case, existing)
    put_there(lab, existing, case.runs)
    keep = kept_by_switch(to=case.switched_to, history=case.ran, keep_releases=case.keep_releases)

    switched = lab.switch(case.switched_to, fence=50, keep=keep)
    is_back = case.switched_to in case.ran
    effect = Effect(version=case.switched_to, history="pop" if is_back else "push", run_status="running")
    record([Change(instance_id=instance.pk, actor=SYSTEM, effect=effect)])

    instance.refresh_from_db()
    assert switched.outcome == "switched"
    assert set(lab.releases()) == case.on_node
    python = kept(running=instance.running_release, history=instance.release_history, keep_releases=case.keep_releases)
    assert set(python) == case.kept <= case.on_node
    assert {version for version in existing if sha256_of(version) in wanted()} == case.kept
    assert planned_from_the_node(instance, existing) == case.kept


def recorded(case: Case, existing: list[str]) -> Instance:
    service = make_service(keep_releases=case.keep_releases)
    # The newest packages are in the store whatever ran, so that these come last.
    for version in [*existing, *(f"newer-{number}" for number in range(case.keep_releases))]:
        Package.objects.create(
            service=service, version=version, release=version, sha256=sha256_of(version), size_bytes=1, url="u"
        )
    (instance,) = make_instances(service, make_node(), 1)
    effects = [Effect(version=version, history="push") for version in case.ran]
    effects.append(Effect(version=case.runs))
    record([Change(instance_id=instance.pk, actor=SYSTEM, effect=effect) for effect in effects])
    return instance


def put_there(lab: NodeLab, existing: list[str], runs: str) -> None:
    for fence, version in enumerate([*existing, runs], start=1):
        lab.deploy(version, fence=fence, keep=existing)


def planned_from_the_node(instance: Instance, versions: list[str]) -> set[str]:
    service = instance.service
    plans = {version: build_plan(service, service.instances.all(), version=version) for version in versions}
    return {version for version, plan in plans.items() if plan.rows[0].source == Source.NODE}


@pytest.mark.parametrize(
    ("version", "is_first", "folder"),
    [
        ("v1", True, "v1"),
        ("v1", False, "v1@0123456789ab"),
        ("1.0.0+build-7", False, "1.0.0+build-7@0123456789ab"),
        ("cafe", True, "cafe"),
    ],
)
def test_python_and_the_node_read_the_same_version_off_a_folder(
    version: str, is_first: bool, folder: str, tmp_path: Path
) -> None:
    (tmp_path / "releases" / folder).mkdir(parents=True)
    (tmp_path / "current").symlink_to(f"releases/{folder}")

    (reading,) = NodeLab(root=tmp_path, artifacts=tmp_path).readings()

    assert release_of(version, DIGEST, is_first=is_first) == folder
    assert version_of(folder) == version
    assert (reading.release, reading.version, reading.problem) == (folder, version, "")


@pytest.mark.parametrize("folder", ["v1@short", "v1@0123456789AB", "@0123456789ab", "v1@0123456789ab.tmp"])
def test_a_folder_that_we_did_not_name_is_no_release(folder: str, tmp_path: Path) -> None:
    (tmp_path / "releases" / folder).mkdir(parents=True)
    (tmp_path / "current").symlink_to(f"releases/{folder}")

    (reading,) = NodeLab(root=tmp_path, artifacts=tmp_path).readings()

    assert reading.release == ""
    assert reading.problem
