from __future__ import annotations

import sys
from pathlib import Path

import pytest

from inventory.editing.retirement import retire_instance, retire_node
from inventory.models import Instance, Node, Service
from inventory.security.access import SYSTEM_ACCESS
from releasesite.demo.layout import Layout
from releasesite.demo.registry import register

pytestmark = pytest.mark.django_db


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(data_dir=tmp_path)
    layout.make()
    return layout


def test_it_registers_three_instances_on_different_ports(layout: Layout) -> None:
    found = register(layout, avoid_ports=())

    assert [each.instance_id for each in found] == ["demo-1", "demo-2", "demo-3"]
    assert len({each.port for each in found}) == 3
    assert {each.service.restart_command for each in found} == {f"{sys.executable} bin/restart.py"}
    for each in found:
        each.full_clean()
        each.service.full_clean()
        each.node.full_clean()


def test_a_later_run_keeps_the_folders_and_what_the_admin_has_changed(layout: Layout) -> None:
    first = register(layout, avoid_ports=())
    Service.objects.filter(name="demo-service").update(keep_releases=2, command_timeout=7)

    second = register(layout, avoid_ports=())

    assert [each.deploy_root for each in second] == [each.deploy_root for each in first]
    service = Service.objects.get(name="demo-service")
    assert (service.keep_releases, service.command_timeout) == (2, 7)


def test_a_later_run_brings_back_what_was_retired(layout: Layout) -> None:
    for instance in register(layout, avoid_ports=()):
        retire_instance(access=SYSTEM_ACCESS, instance_id=instance.instance_id)
    retire_node(access=SYSTEM_ACCESS, name="demo-node")

    register(layout, avoid_ports=())

    assert Instance.objects.listed().count() == 3
    assert Node.objects.listed().count() == 1


def test_a_checkout_that_has_moved_takes_its_instances_along(layout: Layout, tmp_path: Path) -> None:
    register(layout, avoid_ports=())
    moved = Layout(data_dir=tmp_path / "elsewhere")
    moved.make()

    found = register(moved, avoid_ports=())

    assert [each.deploy_root for each in found] == [str(moved.node / each.instance_id) for each in found]


def test_a_new_database_never_takes_over_the_folders_of_another_one(layout: Layout) -> None:
    (layout.node / "demo-2").mkdir()

    found = {each.instance_id: Path(each.deploy_root) for each in register(layout, avoid_ports=())}

    assert found["demo-1"] == layout.node / "demo-1"
    assert found["demo-2"] != layout.node / "demo-2"
    assert found["demo-2"].parent == layout.node
    assert Instance.objects.count() == 3
