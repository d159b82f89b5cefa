"""A fleet in every state that the console has to show, written straight through the models.

Deterministic: the same names, versions and failures every time; only the times are counted back from now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from random import Random

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.utils import timezone

from deploys.models import Lease, LogLine, Operation, Package, Target, Worker
from deploys.node.session import CommandEnded, Linked
from deploys.operations.finish import finalize_finished
from deploys.states import TERMINAL, Kind, OperationStatus, Step, StopReason, TargetStatus
from deploys.told import Told, to_json
from deploys.worker import story
from inventory.actors import ActorKind
from inventory.models import Health, Instance, Node, RunStatus, Service, StatusChange, Survey

PASSWORD = "demo-password-1"
_STEPS = {
    Step.FETCH: 1.4,
    Step.CONNECT: 0.05,
    Step.STAGE: 0.6,
    Step.SWITCH: 0.02,
    Step.RESTART: 2.2,
    Step.CLEAN_UP: 0.1,
}


@dataclass(kw_only=True)
class Fleet:
    """What was made, by the names that tests and screenshots ask for."""

    services: dict[str, Service]
    operations: dict[str, Operation]


def people() -> dict[str, User]:
    """One person of each role; all have the same password."""
    made = {}
    for role in ("viewer", "operator", "admin"):
        user, _ = User.objects.get_or_create(
            username=role,
        )
        user.set_password(PASSWORD)
        user.is_superuser = role == "admin"
        user.save()
        user.groups.add(Group.objects.get_or_create(name=role)[0])
        made[role] = user
    return made


def add_service(name: str, count: int, *, version: str = "v1.4.1", history: Sequence[str] = ("v1.4.0",)) -> Service:
    """A sound service: every instance healthy on `version`, having run `history` before, oldest first."""
    service = Service.objects.create(name=name, restart_command=f"systemctl restart {name}@$RELEASE_PORT")
    hosts = max(1, count // 4)
    nodes = Node.objects.bulk_create(
        Node(name=f"{name}-node-{n + 1}", host=f"10.{service.pk % 250}.{n // 250}.{n % 250 + 1}", transport="local")
        for n in range(hosts)
    )
    for release in (*history, version):
        Package.objects.create(
            service=service,
            version=release,
            release=release,
            sha256=f"{Random(name + release).getrandbits(256):064x}",
            size_bytes=18_400_000,
            url=f"https://packages.example.com/{name}/{release}.tar.gz",
        )
    Instance.objects.bulk_create(
        Instance(
            instance_id=f"{name}-{n + 1}",
            service=service,
            node=nodes[n % hosts],
            port=8000 + n % 1000,
            deploy_root=f"/srv/{name}/{n + 1}",
            running_version=version,
            running_release=version,
            expected_version=version,
            release_history=[*history, version],
            run_status=RunStatus.RUNNING,
            health=Health.HEALTHY,
            changed_at=timezone.now() - timedelta(hours=5),
        )
        for n in range(count)
    )
    return service


def add_operation(
    service: Service,
    public_id: str,
    statuses: Sequence[TargetStatus],
    *,
    kind: Kind = Kind.DEPLOY,
    version: str = "v1.4.2",
    from_version: str = "",
    minutes_ago: float = 10,
    by: str = "scheduler",
    by_kind: ActorKind = ActorKind.TOKEN,
    **fields: object,
) -> Operation:
    """An operation on the service's first instances, one for each status."""
    started = timezone.now() - timedelta(minutes=minutes_ago)
    ended = all(status in TERMINAL for status in statuses)
    count = {status: statuses.count(status) for status in TargetStatus}
    lasted = timedelta(seconds=8 + len(statuses) * 0.8)
    operation = Operation.objects.create(
        kind=kind,
        public_id=public_id,
        service=service,
        version=version,
        from_version=from_version,
        package_url=f"https://packages.example.com/{service.name}/{version}.tar.gz",
        package=service.packages.filter(version=version).first(),
        fingerprint="demo",
        status=_status(count) if ended else OperationStatus.PENDING,
        total=len(statuses),
        completed=count[TargetStatus.COMPLETED] if ended else 0,
        failed=count[TargetStatus.FAILED] if ended else 0,
        cancelled=count[TargetStatus.CANCELLED] + count[TargetStatus.SUPERSEDED] if ended else 0,
        superseded=count[TargetStatus.SUPERSEDED] if ended else 0,
        requested_by=by,
        requested_by_kind=by_kind,
        started_at=started,
        updated_at=started + lasted if ended else timezone.now(),
        finished_at=started + lasted if ended else None,
        **fields,
    )
    instances = list(service.instances.order_by("natural_key")[: len(statuses)])
    lease = Lease.objects.create(
        worker="worker-1:drive", queue="deploys", expires_at=timezone.now() + timedelta(days=1)
    )
    Target.objects.bulk_create(
        [
            _target(operation, instance, status, lease=lease, place=place)
            for place, (instance, status) in enumerate(zip(instances, statuses, strict=True))
        ],
        batch_size=2000,
    )
    return operation


def _status(count: dict[TargetStatus, int]) -> OperationStatus:
    if count[TargetStatus.FAILED]:
        return OperationStatus.FAILED
    if count[TargetStatus.CANCELLED] or count[TargetStatus.SUPERSEDED]:
        return OperationStatus.CANCELLED
    return OperationStatus.COMPLETED


def _target(operation: Operation, instance: Instance, status: TargetStatus, *, lease: Lease, place: int) -> Target:
    begun = operation.started_at + timedelta(seconds=place * 0.7)
    target = Target(
        operation=operation,
        instance=instance,
        kind=operation.kind,
        status=status,
        previous_version=operation.from_version or instance.running_version,
        created_at=operation.started_at,
        updated_at=begun,
    )
    if status == TargetStatus.PENDING:
        return target
    jitter = Random(place)
    seconds = {step.value: round(base * jitter.uniform(0.5, 1.6), 3) for step, base in _STEPS.items()}
    target.started_at, target.claims = begun, 1
    match status:
        case TargetStatus.IN_PROGRESS:
            target.lease, target.step = lease, (Step.STAGE, Step.RESTART, Step.SWITCH)[place % 3]
            target.step_seconds = {"fetch": seconds["fetch"], "connect": seconds["connect"]}
            return target
        case TargetStatus.FAILED:
            target.step, target.reverted = Step.RESTART, True
            target.error_code = "command_failed"
            target.error_message = (
                f"restart_command ended with exit status 1 on {instance.node.host}: "
                "ImportError: cannot import name 'settings' from 'app.config'. `current` leads to the previous release again. "
                "See the log, then retry or deploy another version."
            )
            seconds.pop("clean_up")
            seconds["revert"] = 1.9
        case TargetStatus.COMPLETED:
            target.step, target.source = Step.DONE, "download"
        case _:
            target.step, seconds = Step.CONNECT, {}
            target.stop_reason = StopReason.SUPERSEDE if status == TargetStatus.SUPERSEDED else StopReason.CANCEL
    target.step_seconds = seconds
    target.finished_at = begun + timedelta(seconds=sum(seconds.values()))
    return target


def add_log(operation: Operation, *, lines: int = 0) -> None:
    """What an executor would have written for the first targets; lines: pad with so many of a service's own."""
    written: list[LogLine] = []

    def write(
        at: datetime,
        text: str | Told,
        *,
        instance: Instance | None = None,
        step: str = "",
        stream: str = "system",
    ) -> None:
        text, told = str(text), to_json([text]) if isinstance(text, Told) else None
        seq = len(written) + 1
        line = LogLine(operation=operation, seq=seq, at=at, instance=instance, step=step, stream=stream, text=text)
        line.told = told
        written.append(line)

    at = operation.started_at
    url = f"https://packages.example.com/{operation.service.name}/{operation.version}.tar.gz"
    write(at, f"Downloading {url}", step="fetch")
    for target in operation.targets.select_related("instance").order_by("pk")[:60]:
        at = target.started_at or at
        if target.status == TargetStatus.PENDING:
            continue
        one, before, now = target.instance, target.previous_version, operation.version
        write(at, story.begins(worker="worker-1:4021", fence=target.pk), instance=one, step="queued")
        write(at, story.linked(Linked(before=before, now=now), is_way_back=False), instance=one, step="switch")
        if told := story.command_begins(Step.RESTART, timeout_seconds=60):
            write(at, told, instance=one, step="restart")
        if target.status == TargetStatus.FAILED:
            for text in (
                "Traceback (most recent call last):",
                '  File "/srv/app/main.py", line 3, in <module>',
                "    from app.config import settings",
                "ImportError: cannot import name 'settings' from 'app.config'",
            ):
                write(at, text, instance=one, step="restart", stream="stderr")
            ended = CommandEnded(exit_status=1, timed_out=False, seconds=0.41)
            write(at, story.command_ended(Step.RESTART, ended), instance=one, step="restart")
            write(at, story.linked(Linked(before=now, now=before), is_way_back=True), instance=one, step="restart")
        elif target.status == TargetStatus.COMPLETED:
            write(at, f"listening on 0.0.0.0:{one.port}", instance=one, step="restart", stream="stdout")
            write(at, story.completed(now), instance=one, step="done")
    first = operation.targets.select_related("instance").order_by("pk")[0].instance
    for n in range(lines):
        write(
            at, f"warm-up request {n + 1}: 200 OK in {n % 17 + 3} ms", instance=first, step="restart", stream="stdout"
        )
    LogLine.objects.bulk_create(written, batch_size=2000)
    Operation.objects.filter(pk=operation.pk).update(log_seq=len(written))


def add_log_line(operation: Operation, text: str, instance: Instance | None = None, step: str = "") -> None:
    operation.refresh_from_db()
    seq = operation.log_seq + 1
    LogLine.objects.create(operation=operation, seq=seq, at=timezone.now(), text=text, instance=instance, step=step)
    Operation.objects.filter(pk=operation.pk).update(log_seq=seq)


def finish_target(target: Target, status: TargetStatus = TargetStatus.COMPLETED) -> None:
    """As the executor would end it, the operation's frozen outcome included when it was the last one."""
    now = timezone.now()
    Target.objects.filter(pk=target.pk).update(
        status=status,
        step=Step.DONE if status == TargetStatus.COMPLETED else target.step,
        started_at=target.started_at or now,
        finished_at=now,
        updated_at=now,
    )
    StatusChange.objects.create(
        instance=target.instance,
        field=StatusChange.Field.TARGET,
        old=target.status,
        new=status,
        operation_id=target.operation_id,
        operation_name=str(target.operation),
        actor_kind=ActorKind.SYSTEM,
        actor_name="system",
    )
    if status == TargetStatus.COMPLETED:
        Instance.objects.filter(pk=target.instance_id).update(
            running_version=target.operation.version, expected_version=target.operation.version, changed_at=now
        )
    finalize_finished([target.operation_id])


def worker_is_alive() -> None:
    now = timezone.now() + timedelta(hours=6)
    beat = {"host": "worker-1", "pid": 1, "seen_at": now, "version": settings.VERSION}
    Worker.objects.update_or_create(name="worker-1", defaults=beat)


def _seen_on_the_nodes(service: Service) -> None:
    """As a sync keeps it of a root that another tool deployed to, of one that it linked elsewhere, and of ours."""
    first, second, *others = service.instances.order_by("natural_key")
    theirs = ["1.2.0", "20240215093000", "20240301080000"]
    stuck = [[f"{first.deploy_root}/.release/claim.3/gone.0", 19_044]]
    Survey.objects.create(instance=first, release=theirs[-1], theirs=theirs, stuck=stuck)
    Survey.objects.create(instance=second, problem="`current` leads to no release of ours", elsewhere="/srv/builds/42")
    for instance in others[:-1]:
        Survey.objects.create(instance=instance, release=instance.running_release, sha256="0" * 64)


def small_fleet() -> Fleet:
    """Five services: one deploying, one that failed, one drifted, one sound, one new."""
    done, failed = TargetStatus.COMPLETED, TargetStatus.FAILED
    running, pending = TargetStatus.IN_PROGRESS, TargetStatus.PENDING
    worker_is_alive()
    users = add_service("user-service", 24, history=("v1.3.9", "v1.4.0"))
    checkout = add_service("checkout", 18, version="v2.8.0", history=("v2.7.3",))
    search = add_service("search-api", 12, version="v0.31.4", history=("v0.31.2", "v0.31.3"))
    billing = add_service("billing", 8, version="v5.2.0", history=("v5.1.9",))
    Service.objects.create(name="recommendations")
    operations = _past(users, checkout, search, billing)
    add_package(users, "v1.4.2")
    add_package(checkout, "v2.9.0")
    operations["failed"] = add_operation(
        checkout, "deploy-2026-11-23-checkout", [done] * 15 + [failed] * 3, version="v2.9.0", minutes_ago=26
    )
    _apply(operations["failed"])
    add_log(operations["failed"])
    operations["running"] = add_operation(
        users, "deploy-2026-11-23-0142", [done] * 9 + [running] * 3 + [failed] + [pending] * 11, minutes_ago=0.35
    )
    _apply(operations["running"])
    add_log(operations["running"], lines=12)
    search.instances.filter(instance_id__in=["search-api-3", "search-api-7"]).update(
        running_version="v0.31.3", running_release="v0.31.3"
    )
    search.instances.filter(instance_id="search-api-5").update(health=Health.UNHEALTHY, health_at=timezone.now())
    _seen_on_the_nodes(billing)
    services = {service.name: service for service in Service.objects.all()}
    return Fleet(services=services, operations=operations)


def add_package(service: Service, version: str, *, path: str = "") -> Package:
    return Package.objects.create(
        service=service,
        version=version,
        release=version,
        sha256=f"{Random(service.name + version).getrandbits(256):064x}",
        size_bytes=18_900_000,
        url=f"https://packages.example.com/{path or service.name}/{version}.tar.gz?signature=not-to-be-shown",
    )


def _past(users: Service, checkout: Service, search: Service, billing: Service) -> dict[str, Operation]:
    done, cancelled, superseded = TargetStatus.COMPLETED, TargetStatus.CANCELLED, TargetStatus.SUPERSEDED
    person = partial(add_operation, by="lin.wei", by_kind=ActorKind.PERSON)
    day = 24 * 60
    made = {
        "first": add_operation(users, "deploy-2026-11-12-0007", [done] * 24, version="v1.4.0", minutes_ago=11 * day),
        "billing": add_operation(
            billing, "deploy-2026-11-18-billing", [done] * 8, version="v5.2.0", minutes_ago=5 * day
        ),
        "search": add_operation(
            search, "deploy-2026-11-20-search", [done] * 12, version="v0.31.4", minutes_ago=3 * day
        ),
        "sound": add_operation(users, "deploy-2026-11-21-0088", [done] * 24, version="v1.4.1", minutes_ago=2 * day),
        "superseded": add_operation(
            checkout, "deploy-2026-11-22-checkout", [done] * 7 + [superseded] * 11, version="v2.8.1", minutes_ago=day
        ),
        "cancelled": person(
            billing, "deploy-2026-11-22-billing", [cancelled] * 8, version="v5.3.0", minutes_ago=day - 90
        ),
    }
    made["rollback"] = person(
        checkout,
        "rollback-5f2c9a7714d0be31",
        [done] * 18,
        kind=Kind.ROLLBACK,
        version="v2.8.0",
        from_version="v2.8.1",
        minutes_ago=day - 4,
        undoes=made["superseded"],
        reason="Payments time out since 02:10; p99 at 9 s. Back to the last good one while we look.",
    )
    for name in ("sound", "rollback", "superseded"):
        add_log(made[name])
    return made


def _apply(operation: Operation) -> None:
    """Let the instances run what the operation's targets say. Every other failed one, the first too, does not run."""
    failed = 0
    for target in operation.targets.select_related("instance").order_by("pk"):
        instance = target.instance
        if target.status == TargetStatus.COMPLETED:
            instance.running_version = instance.running_release = operation.version
            instance.expected_version = operation.version
            instance.release_history = [*instance.release_history, operation.version]
            instance.changed_at = target.finished_at or timezone.now()
        if target.status == TargetStatus.FAILED:
            instance.changed_at = target.finished_at or timezone.now()
            instance.run_status = RunStatus.RUNNING if failed % 2 else RunStatus.FAILED
            failed += 1
        instance.save()
        if target.status in TERMINAL:
            _changes(operation, target, instance)


def _changes(operation: Operation, target: Target, instance: Instance) -> None:
    fields = [(StatusChange.Field.TARGET, "in_progress", target.status)]
    if target.status == TargetStatus.COMPLETED:
        fields.append((StatusChange.Field.VERSION, target.previous_version, operation.version))
    for field, old, new in fields:
        StatusChange.objects.create(
            instance=instance,
            field=field,
            old=old,
            new=new,
            at=target.finished_at or timezone.now(),
            operation_id=operation.pk,
            operation_name=str(operation),
            actor_kind=operation.requested_by_kind,
            actor_name=operation.requested_by,
        )


def large_operation(count: int = 10_000) -> Operation:
    """One deploy of so many instances, a few of them failed."""
    service = add_service("edge-cache", count, version="v7.0.3", history=("v7.0.2",))
    statuses = [TargetStatus.COMPLETED] * (count * 62 // 100) + [TargetStatus.FAILED] * 7
    statuses += [TargetStatus.IN_PROGRESS] * max(1, count // 100)
    statuses += [TargetStatus.PENDING] * (count - len(statuses))
    operation = add_operation(service, "deploy-edge-cache-all", statuses, version="v7.1.0", minutes_ago=6)
    add_log(operation, lines=1500)
    return operation


def many_services(count: int = 500, *, instances: int = 20) -> None:
    for n in range(count):
        add_service(
            f"service-{n + 1:03}", instances, version=f"v1.{n % 7}.0", history=(f"v1.{n % 7 - 1 if n % 7 else 0}.9",)
        )


def past_targets(service: Service, *, operations: int, each: int) -> None:
    """So many finished deploys of the service's first `each` instances."""
    for n in range(operations):
        add_operation(
            service, f"past-{service.pk}-{n}", [TargetStatus.COMPLETED] * each, version=f"v0.{n}.0", minutes_ago=60 + n
        )
