"""What makes a soak hostile: of ten targets one is on a node that lies, and of ten commands one floods."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from deploys.models import Operation, Target
from deploys.operations.cancel import cancel_operation
from deploys.states import ACTIVE, Kind, TargetStatus
from inventory.errors import ReleaseError
from inventory.models import Instance, Service
from tests.faults.hostile.fleet import lying_fleet
from tests.support.fleet import SCHEDULER, make_instances, make_node

PREFIX = "liar-"
SHARE = 0.1
# Of ten commands, told by their number, one prints 3 MB of one kind or another.
FLOODS = """
case $$ in
*3) yes "" | head -c 3000000 ;;
*53) head -c 3000000 /dev/urandom ;;
*73) seq 1 400000 ;;
esac
"""


@contextmanager
def liars(service: Service, *, seed: int, is_hostile: bool) -> Iterator[Sequence[Instance]]:
    """Instances of the service on lying nodes; none unless the soak is hostile."""
    if not is_hostile:
        yield ()
        return
    with lying_fleet(seed) as fleet:
        yield [
            instance
            for liar in fleet.liars
            for instance in make_instances(service, make_node(liar.name, **liar.fields), 1, prefix=liar.name)
        ]


def with_liars(instances: Sequence[Instance], lying: Sequence[Instance], chance: random.Random) -> Sequence[Instance]:
    """Some of them exchanged for liars."""
    if not lying:
        return instances
    return list({each.pk: each for each in (_perhaps(each, lying, chance) for each in instances)}.values())


def _perhaps(instance: Instance, lying: Sequence[Instance], chance: random.Random) -> Instance:
    return chance.choice(lying) if chance.random() < SHARE else instance


def cancel_silent_ones() -> None:
    """At the end, as an operator would: a node that says nothing more may have its whole time otherwise."""
    silent = Target.objects.filter(status__in=ACTIVE, instance__node__name__startswith=PREFIX)
    for operation in Operation.objects.filter(targets__in=silent).distinct():
        try:
            cancel_operation(access=SCHEDULER, kind=Kind(operation.kind), public_id=operation.public_id)
        except ReleaseError:
            continue


def honest_seconds() -> list[float]:
    """Of each honest target that was completed: from its request to its end."""
    done = Target.objects.filter(status=TargetStatus.COMPLETED).exclude(instance__node__name__startswith=PREFIX)
    times = done.values_list("created_at", "finished_at")
    return sorted((ended - began).total_seconds() for began, ended in times if ended)
