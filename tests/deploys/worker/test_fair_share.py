"""Which of the waiting work a work loop claims: services in turns, and never the last slots for one alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys.models import Operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import Kind
from deploys.worker.claims import claim
from deploys.worker.fair_share import Slots
from deploys.worker.leases import create_lease
from rollbacks.services import BatchRollbackRequest, start_batch_rollback
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service


def test_services_take_turns_and_each_begins_with_its_oldest() -> None:
    waiting = {1: ["a1", "a2", "a3"], 2: ["b1"], 3: ["c1", "c2"]}

    assert Slots(most=100).share_out(waiting, at_once=5) == ["a1", "b1", "c1", "a2", "c2"]


def test_who_holds_fewest_comes_first() -> None:
    slots = Slots(most=100)
    for _ in range(3):
        slots.take(1)

    assert slots.share_out({1: ["a"], 2: ["b1", "b2", "b3", "b4"]}, at_once=4) == ["b1", "b2", "b3", "a"]


def test_of_the_last_fifth_a_service_takes_what_it_leaves_for_others() -> None:
    slots = Slots(most=20)
    assert len(slots.share_out({1: list(range(50))}, at_once=50)) == 16
    assert slots.has_left_some
    for _ in range(16):
        slots.take(1)

    assert slots.share_out({1: [0]}, at_once=4) == []
    assert slots.share_out({1: [0], 2: [1, 2, 3]}, at_once=4) == [1, 2]
    slots.give_back(1)
    assert slots.share_out({1: [0]}, at_once=4) == [0]
    assert not slots.has_left_some


def test_a_single_slot_is_not_kept_free() -> None:
    assert Slots(most=1).share_out({1: ["a"]}, at_once=1) == ["a"]


def start(kind: Kind, service: str, instances: tuple[str, ...]) -> Operation:
    url = "http://p/v.tgz"
    if kind == Kind.DEPLOY:
        wanted = DeployRequest(service=service, version="v1", instances=instances, package_url=url)
        return start_deploy(access=SCHEDULER, request=wanted)
    back = BatchRollbackRequest(service=service, target_version="v1", instances=instances, package_url=url)
    return start_batch_rollback(access=SCHEDULER, request=back)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", list(Kind))
def test_a_claim_takes_the_one_operation_of_another_service_before_the_rest_of_a_busy_ones(
    kind: Kind, tmp_path: Path
) -> None:
    busy, other = make_service("busy"), make_service("other")
    operations = []
    for number in range(30):
        instances = make_instances(busy, make_node(f"busy-{number}"), 2, root=tmp_path, prefix=f"busy-{number}")
        operations.append(start(kind, "busy", ids(instances)).pk)
    instances = make_instances(other, make_node("other"), 3, root=tmp_path, prefix="other")
    one = start(kind, "other", ids(instances))

    claimed = claim(kind=kind, lease_id=create_lease("worker", "x").pk, max_nodes=4, slots=Slots(most=100))

    assert [(group[0].operation_id, len(group)) for group in claimed] == [
        *((pk, 2) for pk in operations[:3]),
        (one.pk, 3),
    ]
