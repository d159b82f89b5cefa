"""Asks what runs on a service's nodes which version it is, by the service's version command, and keeps what it says."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

from django.db import transaction

from inventory.actors import SYSTEM, Actor, ActorKind
from inventory.instances import in_progress
from inventory.instances.facts import Change, Effect, database_time, lock_settled, record
from inventory.instances.locks import lock_instances
from inventory.models import Instance, Service
from inventory.nodes.processes import Process, ask_processes
from inventory.nodes.readings import Answer, ask_nodes
from inventory.nodes.transports.base import NodeAddress
from inventory.nodes.transports.jump_address import LOADED
from inventory.security.redaction import scrub

logger = logging.getLogger(__name__)

Asked = Mapping[NodeAddress, Mapping[int, Process]]


def sync_processes(service_id: int, *, reached_since: datetime) -> None:
    """Of the nodes that were reached since then. What could not be asked stays as recorded."""
    service = Service.objects.filter(pk=service_id).first()
    if service is None:
        return
    if not service.version_command:
        forget_processes([service_id], actor=SYSTEM)
        return
    began_at = database_time()
    asked = _asked(service, reached_since)
    questions = {address: list(processes.values()) for address, processes in asked.items()}
    for answers in ask_nodes(questions, ask_processes):
        for answer in answers:
            _keep(answer, list(asked[answer.address]), began_at=began_at)


def _asked(service: Service, reached_since: datetime) -> Asked:
    held = in_progress.operations.holders(service=service.pk)
    instances = service.instances.listed().exclude(running_release="").filter(node__seen_at__gte=reached_since)
    asked: dict[NodeAddress, dict[int, Process]] = defaultdict(dict)
    for instance in instances.select_related("node", f"node__{LOADED}"):
        if instance.pk not in held or not held[instance.pk].has_begun:
            asked[NodeAddress.of(instance.node)][instance.pk] = Process(
                root=instance.deploy_root,
                instance_id=instance.instance_id,
                port=instance.port,
                service=service.name,
                command=service.version_command,
            )
    return asked


def _keep(answer: Answer[str], instances: Sequence[int], *, began_at: datetime) -> None:
    if answer.error:
        what = "Node '%s' does not say which version its processes are of: %s"
        logger.warning(what, answer.address.name, scrub(answer.error))
        return
    said = dict(zip(instances, answer.readings, strict=True))
    actor = Actor(kind=ActorKind.NODE, name=answer.address.name)
    with transaction.atomic():
        settled = lock_settled(said, since=began_at)
        record([_change(instance, said[pk], actor) for pk, instance in settled.items()])


def _change(instance: Instance, said: str, actor: Actor) -> Change:
    note = "said by the version command"
    if said and said != instance.running_version:
        note = f"drift: {instance.running_version} is linked"
    return Change(instance_id=instance.pk, actor=actor, note=note, effect=Effect(process=said))


def forget_processes(services: Iterable[int], *, actor: Actor) -> None:
    """Of services (their primary keys) that have no version command any more."""
    said = Instance.objects.filter(service__in=list(services)).exclude(process_version="")
    with transaction.atomic():
        pks = list(said.values_list("pk", flat=True))
        lock_instances(pks)
        note, effect = "the service has no version command", Effect(process="")
        change = partial(Change, actor=actor, note=note, effect=effect)
        record([change(instance_id=pk) for pk in pks])
