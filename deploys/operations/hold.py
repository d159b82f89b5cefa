"""Hold a service and release it: while it is held no deploy of it starts, and what has not begun ends (CONTRACT.md, "Hold")."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Concat, Now
from django.utils.translation import gettext as _

from deploys.events import outbox
from deploys.events.outbox import Event
from deploys.models import Hold, Target
from deploys.operations.held import active_hold, superseded_by
from deploys.operations.locks import lock_for_hold, lock_instances, lock_operations
from deploys.operations.transitions import MovableTarget, Move, apply_moves
from deploys.states import ACTIVE, Kind, TargetStatus
from deploys.webhook_models import EventType
from inventory.actors import SYSTEM, Actor
from inventory.errors import InvalidRequest
from inventory.instances.selection import visible_service
from inventory.models import Service
from inventory.security import audit
from inventory.security.access import Access
from inventory.security.redaction import scrub
from inventory.wire.wire_time import wire_time


def hold_service(*, access: Access, service_name: str, reason: str, until: datetime | None = None) -> Hold:
    """The service's active hold: this one, or the one that was there already, unchanged.

    until: when it ends by itself. Raises NotFound, and InvalidRequest `until_in_past`.
    """
    service = visible_service(access, service_name)
    _check_is_to_come(until)
    with transaction.atomic():
        lock_for_hold(service.pk)
        lock_unfinished_deploys(service)
        return place_hold(service, by=access.actor, reason=reason, until=until)


def _check_is_to_come(until: datetime | None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s <= clock_timestamp(), clock_timestamp()", [until])
        is_over, now = cursor.fetchone()
    if is_over:
        raise InvalidRequest(
            _("The hold would have ended before it began: it is %(now)s now. Give a later time, or none.")
            % {"now": wire_time(now)},
            code="until_in_past",
            attr="until",
        )


def release_service(*, access: Access, service_name: str) -> Service:
    """Let deploys in again; fine for a service that is not held. Raises NotFound."""
    service = visible_service(access, service_name)
    with transaction.atomic():
        lock_for_hold(service.pk)
        end_hold(service, by=access.actor)
    return service


def end_expired_holds() -> None:
    """Close the holds whose end has passed, as a chore: by themselves they keep no deploy out since then."""
    for service in Service.objects.filter(holds__in=Hold.objects.expired()):
        with transaction.atomic():
            lock_for_hold(service.pk)
            if active_hold(service) is None:
                end_hold(service, by=SYSTEM)


def lock_unfinished_deploys(service: Service, *, instance_ids: Collection[int] = ()) -> None:
    """Lock what the service's unfinished deploys are made of, and these instances: at once, for the order of locks.

    The caller keeps `lock_for_hold`, so that no other deploy can appear.
    """
    unfinished = list(_unfinished(service).values_list("instance_id", "operation_id"))
    lock_instances({*instance_ids, *(instance_id for instance_id, _ in unfinished)})
    lock_operations(operation_id for _, operation_id in unfinished)


def place_hold(service: Service, *, by: Actor, reason: str, until: datetime | None = None) -> Hold:
    """Hold the service, if nothing does, and end the targets of its deploys that have not begun. All holds begin here.

    The caller keeps `lock_for_hold` and then `lock_unfinished_deploys`, and locks nothing more: the audit comes last.
    """
    held = active_hold(service)
    if held is not None:
        return held
    expired = _close(service, by)
    hold = Hold(service=service, reason=scrub(reason), held_by=by.name, held_by_kind=by.kind, until=until)
    hold.save(force_insert=True)
    hold.refresh_from_db(fields=("held_at",))
    superseded = _supersede_pending(hold, by)
    if expired is not None:
        _tell_of_end(expired)
    _tell_of_hold(hold, by, superseded)
    return hold


def end_hold(service: Service, *, by: Actor) -> None:
    """Release the service, if it has a hold that nobody has closed. All holds end here. The caller keeps `lock_for_hold`."""
    ended = _close(service, by)
    if ended is not None:
        _tell_of_end(ended)


class _Ended(NamedTuple):
    hold: Hold
    by: Actor


def _close(service: Service, by: Actor) -> _Ended | None:
    """What whoever closes a hold after its end does not end: that has ended by itself, at that time."""
    hold = Hold.objects.filter(service=service, released_at=None).first()
    if hold is None:
        return None
    has_expired = active_hold(service) is None
    by = SYSTEM if has_expired else by
    Hold.objects.filter(pk=hold.pk).update(
        released_at=hold.until if has_expired else Now(), released_by=by.name, released_by_kind=by.kind
    )
    return _Ended(hold, by)


def _unfinished(service: Service) -> QuerySet[Target]:
    return Target.objects.filter(
        operation__service=service, operation__finished_at=None, kind=Kind.DEPLOY, status__in=ACTIVE
    )


def _supersede_pending(hold: Hold, by: Actor) -> int:
    pending = _unfinished(hold.service).filter(status=TargetStatus.PENDING)
    name = Concat(Value(f"{Kind.DEPLOY} "), "operation__public_id")
    rows = pending.values_list("pk", "instance_id", "operation_id", name, "attempt", "status")
    told = superseded_by(hold, has_begun=False)
    moves = [Move.of(MovableTarget(*row), to=TargetStatus.SUPERSEDED, actor=by, told=told) for row in rows]
    return len(apply_moves(moves))


def _tell_of_hold(hold: Hold, by: Actor, superseded: int) -> None:
    _emit(EventType.SERVICE_HELD, hold, held=True)
    until = wire_time(hold.until) if hold.until else None
    _audit(by, hold, "service.hold", {"reason": hold.reason, "until": until, "superseded": superseded})


def _tell_of_end(ended: _Ended) -> None:
    hold = ended.hold
    _emit(EventType.SERVICE_RELEASED, hold, held=False, released_by=ended.by.name)
    _audit(ended.by, hold, "service.release", {"reason": hold.reason, "held_by": hold.held_by})


def _emit(kind: EventType, hold: Hold, **told: object) -> None:
    """What was so of the hold, as `GET /v1/service/…/hold` says it."""
    data = {
        "service": hold.service.name,
        "reason": hold.reason,
        "held_by": hold.held_by,
        "held_at": hold.held_at,
        "until": hold.until,
        **told,
    }
    event = Event(service_id=hold.service_id, subject=f"service {hold.service}", data=lambda: data)
    outbox.emit(kind, [event])


def _audit(by: Actor, hold: Hold, action: str, detail: Mapping[str, object]) -> None:
    name = hold.service.name
    audit.record(actor=by, action=action, object_kind="service", object_id=name, service=name, detail=detail)
