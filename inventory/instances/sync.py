"""Reads the running versions of a service off its nodes. What a node says wins over what the database believed."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now

from inventory.actors import Actor, ActorKind
from inventory.instances import in_progress
from inventory.instances.adoption import keep
from inventory.instances.facts import Change, Effect, Found, database_time, lock_settled, record
from inventory.instances.sync_processes import sync_processes
from inventory.instances.sync_queue import begin, end
from inventory.models import Instance, Node, RunStatus, StatusChange
from inventory.nodes.readings import Answer, survey_nodes
from inventory.nodes.state import Reading, Survey
from inventory.nodes.transports.base import NodeAddress
from inventory.nodes.transports.jump_address import LOADED
from inventory.security.redaction import scrub

logger = logging.getLogger(__name__)

UNREACHABLE = "unreachable: "
# Statements with a parameter for each instance must not grow without bounds.
_BATCH = 1000


@dataclass(kw_only=True)
class SyncResult:
    """How many instances were read, of those how many were corrected, and how many could not be read.

    disbelieved: the nodes that answered what our program never says, and what; their instances stay as recorded.
    """

    read: int = 0
    corrected: int = 0
    unreachable: int = 0
    disbelieved: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a node says of one instance. survey None: it could not be asked; why is in `error`."""

    instance_pk: int
    node_name: str
    survey: Survey | None
    error: str = ""

    @property
    def reading(self) -> Reading | None:
        return None if self.survey is None else self.survey.reading


def sync_service(service_id: int) -> SyncResult | None:
    """None when another one is at it; that one goes over the service once more if it was asked to meanwhile."""
    if not begin(service_id):
        return None
    result = SyncResult()
    in_progress.operations.look_after(service_id)
    began_at = database_time()
    asked = _instances_by_node(service_id)
    roots = {address: [root for _pk, root in instances] for address, instances in asked.items()}
    for answers in survey_nodes(roots):
        _disbelieve(answers, service_id=service_id, result=result)
        believed = [answer for answer in answers if not answer.is_disbelieved]
        _saw(believed)
        told = [each for answer in believed for each in _told(answer, asked[answer.address])]
        for start in range(0, len(told), _BATCH):
            _apply(told[start : start + _BATCH], began_at=began_at, result=result)
    sync_processes(service_id, reached_since=began_at)
    end(service_id)
    return result


def _instances_by_node(service_id: int) -> Mapping[NodeAddress, list[tuple[int, str]]]:
    """Key and deploy root of those that no operation works on; what it says of them counts, not the node's link."""
    held = in_progress.operations.holders(service=service_id)
    by_node: dict[NodeAddress, list[tuple[int, str]]] = defaultdict(list)
    for instance in Instance.objects.listed().filter(service=service_id).select_related("node", f"node__{LOADED}"):
        if instance.pk not in held or not held[instance.pk].has_begun:
            by_node[NodeAddress.of(instance.node)].append((instance.pk, instance.deploy_root))
    return by_node


def _saw(answers: Iterable[Answer[Survey]]) -> None:
    """When a node was last reached is told of one that can't be (a tunnel that is away)."""
    names = [answer.address.name for answer in answers if not answer.error]
    Node.objects.filter(name__in=names).update(seen_at=Now())


def _disbelieve(answers: Iterable[Answer[Survey]], *, service_id: int, result: SyncResult) -> None:
    for answer in answers:
        if answer.is_disbelieved:
            result.disbelieved[answer.address.name] = why = scrub(answer.error)
            what = "The sync of service %d leaves the instances on node '%s' as recorded: %s"
            logger.warning(what, service_id, answer.address.name, why)


def _told(answer: Answer[Survey], instances: list[tuple[int, str]]) -> Iterable[Told]:
    surveys = answer.readings or (None,) * len(instances)
    for (pk, _root), survey in zip(instances, surveys, strict=True):
        yield Told(instance_pk=pk, node_name=answer.address.name, survey=survey, error=scrub(answer.error))


def _apply(told: list[Told], *, began_at: datetime, result: SyncResult) -> None:
    """Only where nothing has been switched since the reading began: it may be older than that switch."""
    with transaction.atomic():
        settled = lock_settled((each.instance_pk for each in told), since=began_at)
        before = _statuses_before_unreachable(settled.values())
        heard = [(settled[each.instance_pk], each) for each in told if each.instance_pk in settled]
        for instance, each in heard:
            _count(instance, each, result)
        record([_correction(instance, each, status_before=before.get(instance.pk)) for instance, each in heard])
        keep({instance.pk: each.survey for instance, each in heard if each.survey is not None})


def _count(instance: Instance, told: Told, result: SyncResult) -> None:
    if told.reading is None:
        result.unreachable += 1
        return
    result.read += 1
    result.corrected += told.reading.version != instance.running_version


def _correction(instance: Instance, told: Told, *, status_before: str | None) -> Change:
    reading = told.reading
    if reading is None:
        note, effect = UNREACHABLE + told.error, Effect(run_status=RunStatus.UNKNOWN)
    else:
        note = _note(instance, reading)
        effect = Effect(
            version=reading.version,
            release=reading.release,
            sha256=reading.sha256,
            process=None if reading.release else "",
            run_status=status_before if reading.release else RunStatus.UNKNOWN,
            found=Found(release="" if reading.sha256 else reading.release, elsewhere=reading.elsewhere),
        )
    actor = Actor(kind=ActorKind.NODE, name=told.node_name)
    return Change(instance_id=instance.pk, actor=actor, note=note, effect=effect)


def _note(instance: Instance, reading: Reading) -> str:
    if reading.problem:
        return reading.problem
    if instance.expected_version and reading.version != instance.expected_version:
        return f"drift: {instance.expected_version} was expected"
    return "read from the node"


def _statuses_before_unreachable(instances: Iterable[Instance]) -> dict[int, str]:
    """For those that are unknown only because their node could not be reached: what they were before."""
    unknown = [instance.pk for instance in instances if instance.run_status == RunStatus.UNKNOWN]
    latest = (
        StatusChange.objects.filter(instance__in=unknown, field=StatusChange.Field.RUN_STATUS)
        .order_by("instance_id", "-pk")
        .distinct("instance_id")
    )
    return {row.instance_id: row.old for row in latest if row.note.startswith(UNREACHABLE)}
