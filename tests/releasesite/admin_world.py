"""One of everything that the admin shows, for `shop` and for `bank`."""

from __future__ import annotations

from typing import Any

import asyncssh
from axes.models import AccessAttempt
from django.contrib.auth.models import Group, User
from django_q.models import OrmQ

from deploys.models import Deploy, Operation, Package, Worker
from deploys.operations.start import DeployRequest, start_deploy
from inventory.actors import SYSTEM
from inventory.models import AuditEntry, Instance, JumpHost, StatusChange
from inventory.security import audit
from releasesite.models import ApiToken
from rollbacks.models import Rollback
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service
from tests.support.webhooks import make_sent, make_webhook

OLD_KEY = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
# By name: "shop node", "bank target", "unused node", "token" …
World = dict[str, Any]


def make_world() -> World:
    token, _secret = ApiToken.objects.issue(name="scheduler", scope="deploy")
    webhook = make_webhook("https://hooks.example.com/x", name="bank's webhook")
    common: World = {
        "unused node": make_node("bank-unused"),
        "jump host": JumpHost.objects.create(
            name="dmz", host="127.0.0.1", ssh_port=1, ssh_user="jump", ssh_host_key=OLD_KEY
        ),
        "user": User.objects.create_user("bob"),
        "group": Group.objects.create(name="others"),
        "token": token,
        "webhook": webhook,
        "delivery": make_sent(webhook),
        "shop worker": Worker.objects.create(name="w-1", host="h", pid=1),
        "shop accessattempt": AccessAttempt.objects.create(username="x", failures_since_start=1),
    }
    world = {**common, **_of("shop"), **_of("bank")}
    return {**world, "shop ormq": OrmQ.objects.earliest("pk")}


def _of(name: str) -> World:
    service = make_service(name)
    node = make_node(f"{name}-node")
    instance, spare, operated = make_instances(service, node, 3, prefix=name)
    package = Package.objects.create(
        service=service, version="v1", release="v1", sha256="1" * 64, size_bytes=1, url="http://p/"
    )
    audit.record(actor=SYSTEM, action="service.change", object_kind="service", object_id=name, service=name)
    deploy = _deploy(operated)
    its = {
        "service": service,
        "empty service": make_service(f"{name}-empty"),
        "node": node,
        "instance": instance,
        "spare": spare,
        "package": package,
        "deploy": deploy,
        "target": deploy.targets.get(),
        "rollback": _rollback(operated),
        "statuschange": StatusChange.objects.create(instance=operated, field="health", old="unknown", new="healthy"),
        "auditentry": AuditEntry.objects.filter(service=name).first(),
    }
    return {f"{name} {what}": each for what, each in its.items()}


def _deploy(instance: Instance) -> Deploy:
    wanted = DeployRequest(
        service=instance.service.name,
        version="v2",
        instances=(instance.instance_id,),
        package_url="http://p/v2.tgz",
        deploy_id=f"deploy-of-{instance.service.name}",
    )
    return Deploy.objects.get(pk=_ended(start_deploy(access=SCHEDULER, request=wanted)).pk)


def _rollback(instance: Instance) -> Rollback:
    wanted = InstanceRollbackRequest(
        instance_id=instance.instance_id, target_version="v1", rollback_id=f"rollback-of-{instance.service.name}"
    )
    return Rollback.objects.get(pk=_ended(start_instance_rollback(access=SCHEDULER, request=wanted)).pk)


def _ended(operation: Operation) -> Operation:
    ended = "2024-01-15T10:30:00Z"
    operation.targets.update(status="failed", error_code="node_unreachable", finished_at=ended)
    Operation.objects.filter(pk=operation.pk).update(status="failed", failed=1, finished_at=ended)
    return operation
