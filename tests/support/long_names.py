"""One service whose every name is as long as may be, without a place to break a line; reasons from right to left."""

from __future__ import annotations

from django.utils import timezone

from deploys.models import Operation
from deploys.states import Kind, TargetStatus
from inventory.actors import ActorKind
from inventory.models import Instance, Node, RunStatus, Service
from tests.support import demo_data

SERVICE = "s" + "ervice" * 16 + "end"
VERSIONS = ("1.24.0-rc.1+feature_checkout.9f8e7d6c5b4a", "v" + "3" * 99, "w" + "m" * 99)
PERSON = "p" * 150
OPERATION = "d" + "eploy" * 39 + "last"
REASON = (
    "השרת נפל אחרי הפריסה 🔥🚒👩‍💻 " * 4
    + "https://tracker.example.com/"
    + "q" * 120
    + " العودة إلى الإصدار السابق فوراً " * 4
)
COMMAND = "/usr/bin/env " + "RELEASE_OPTION=" + "y" * 300


def long_fleet() -> Service:
    """Each version runs somewhere; a deploy failed, one goes on, and a rollback has a reason."""
    demo_data.people()
    demo_data.worker_is_alive()
    service = Service.objects.create(name=SERVICE, restart_command=COMMAND)
    node = Node.objects.create(name="n" * 100, host="h" * 63 + ".example.com", transport="local")
    for n in range(6):
        _instance(service, node, n)
    for version in VERSIONS:
        demo_data.add_package(service, version, path="u" * 300)
    done, failed, running = TargetStatus.COMPLETED, TargetStatus.FAILED, TargetStatus.IN_PROGRESS
    _operation(service, "first-" + OPERATION[:180], [done] * 6, VERSIONS[1], minutes_ago=60)
    _operation(service, "back-" + OPERATION[:180], [done] * 6, VERSIONS[0], minutes_ago=30, kind=Kind.ROLLBACK)
    _operation(service, "failed-" + OPERATION[:180], [failed] * 3, VERSIONS[2], minutes_ago=20)
    operation = _operation(service, OPERATION, [running, done, failed], VERSIONS[1], minutes_ago=1)
    demo_data.add_log(operation)
    demo_data.add_log_line(operation, "o" * 400)
    return service


def _instance(service: Service, node: Node, n: int) -> Instance:
    version, before = VERSIONS[n % 3], VERSIONS[(n + 1) % 3]
    return Instance.objects.create(
        instance_id=f"{n}" + "i" * 99,
        service=service,
        node=node,
        port=65000 + n,
        deploy_root=f"/{'r' * 200}/{n}",
        running_version=version,
        running_release=version,
        expected_version=before if n == 4 else version,
        release_history=[before, version],
        run_status=RunStatus.RUNNING,
        changed_at=timezone.now(),
    )


def _operation(
    service: Service,
    public_id: str,
    statuses: list[TargetStatus],
    version: str,
    *,
    minutes_ago: float,
    kind: Kind = Kind.DEPLOY,
) -> Operation:
    operation = demo_data.add_operation(
        service, public_id, statuses, version=version, kind=kind, minutes_ago=minutes_ago, by=PERSON,
        by_kind=ActorKind.PERSON, reason=REASON, from_version=VERSIONS[1] if kind == Kind.ROLLBACK else "",
    )  # fmt: skip
    operation.targets.filter(status=TargetStatus.FAILED).update(error_message="e" * 300)
    return operation
