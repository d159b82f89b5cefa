"""Every page of the admin over one data set: lists, forms to add, filled, in error, and what asks back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import asyncssh
from axes.models import AccessAttempt
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.urls import reverse

from inventory.actors import SYSTEM
from inventory.models import Instance, JumpHost, Node, Service
from inventory.security import audit
from releasesite.models import ApiToken, ServiceLimit
from tests.support import demo_data
from tests.support.webhooks import make_sent, make_webhook

LONG = "n" * 100


@dataclass(frozen=True, kw_only=True)
class AdminPage:
    """typed: what to write into fields, by name, before the form is sent: it is refused then."""

    name: str
    path: str
    typed: Mapping[str, str] = field(default_factory=dict)


def fill() -> Iterator[AdminPage]:
    """Make one of everything; its pages."""
    demo_data.people()
    demo_data.small_fleet()
    service, instance = Service.objects.get(name="billing"), Instance.objects.get(instance_id="billing-1")
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().strip()
    jump = JumpHost.objects.create(name="bastion", host="203.0.113.9", ssh_user="jump", ssh_host_key=key)
    node = Node.objects.create(
        name="web-1", host="10.20.0.1", ssh_user="release", ssh_host_key=key, jump=jump, seen_at=instance.changed_at
    )
    Instance.objects.create(
        instance_id=f"billing-{LONG}"[:100], service=service, node=node, port=9000, deploy_root="/srv/billing/long"
    )
    person = User.objects.create_user("lin.wei", "lin.wei@example.com", demo_data.PASSWORD)
    person.groups.add(Group.objects.get(name="operator"))
    ServiceLimit.objects.create(user=person).services.add(service)
    group = Group.objects.create(name="on call")
    token, _secret = ApiToken.objects.issue(name="scheduler", scope="deploy", services=[service])
    webhook = make_webhook("https://hooks.example.com/x", name="on-call chat")
    delivery = make_sent(webhook)
    AccessAttempt.objects.create(username="x", ip_address="203.0.113.7", failures_since_start=3)
    audit.record(actor=SYSTEM, action="service.change", object_kind="service", object_id="billing", service="billing")
    deploy = service.operations.filter(kind="deploy").order_by("pk")[0]

    yield AdminPage(name="index", path="/admin/")
    wrong = {"name": "no good name", "command_timeout": "0", "signing_key": "x"}
    yield from _of("inventory_service", service, wrong)
    yield AdminPage(name="import", path="/admin/inventory/service/import-yaml/")
    yield from _of("inventory_jumphost", jump, {"name": "a b", "host": "user@host", "ssh_host_key": "x"})
    yield from _of("inventory_node", node, {"name": "a b", "host": "user@host", "ssh_user": "", "ssh_host_key": "x"})
    yield from _of("inventory_instance", instance, {"instance_id": "a b", "deploy_root": "relative", "port": "0"})
    yield AdminPage(name="inventory_statuschange-list", path="/admin/inventory/statuschange/")
    yield AdminPage(name="inventory_auditentry-list", path="/admin/inventory/auditentry/")
    yield AdminPage(name="deploys_deploy-list", path="/admin/deploys/deploy/")
    yield AdminPage(name="deploys_deploy-change", path=f"/admin/deploys/deploy/{deploy.pk}/change/")
    yield AdminPage(name="deploys_target-list", path="/admin/deploys/target/")
    yield AdminPage(
        name="deploys_target-change", path=f"/admin/deploys/target/{deploy.targets.order_by('pk')[0].pk}/change/"
    )
    yield AdminPage(name="deploys_package-list", path="/admin/deploys/package/")
    yield AdminPage(name="deploys_worker-list", path="/admin/deploys/worker/")
    yield AdminPage(name="rollbacks_rollback-list", path="/admin/rollbacks/rollback/")
    yield from _of("auth_user", person, {"username": "a b"})
    yield AdminPage(
        name="password", path=reverse("admin:auth_user_password_change", args=[person.pk]), typed={"password1": "x"}
    )
    yield from _of("auth_group", group, {"name": ""})
    role = Group.objects.get(name="operator")
    yield AdminPage(name="role", path=reverse("admin:auth_group_change", args=[role.pk]))
    yield AdminPage(name="releasesite_apitoken-list", path="/admin/releasesite/apitoken/")
    yield AdminPage(name="releasesite_apitoken-add", path="/admin/releasesite/apitoken/add/")
    yield AdminPage(
        name="releasesite_apitoken-wrong",
        path="/admin/releasesite/apitoken/add/",
        typed={"allowed_networks": "10.0.0.300"},
    )
    yield AdminPage(
        name="releasesite_apitoken-change", path=reverse("admin:releasesite_apitoken_change", args=[token.pk])
    )
    yield from _of("deploys_webhook", webhook, {"name": "", "url": "ftp://x"})
    yield AdminPage(name="deploys_webhookdelivery-list", path="/admin/deploys/webhookdelivery/")
    yield AdminPage(
        name="deploys_webhookdelivery-change", path=reverse("admin:deploys_webhookdelivery_change", args=[delivery.pk])
    )
    yield AdminPage(name="axes_accessattempt-list", path="/admin/axes/accessattempt/")
    yield AdminPage(name="django_q_ormq-list", path="/admin/django_q/ormq/")
    yield AdminPage(name="login", path="/password")
    yield AdminPage(name="api", path="/v1/docs")


def _of(name: str, obj: Model, wrong: Mapping[str, str]) -> Iterator[AdminPage]:
    """The question before deleting looks alike for all: that of a service stands for them."""
    of_row = ("change", "delete") if name == "inventory_service" else ("change",)
    yield AdminPage(name=f"{name}-list", path=reverse(f"admin:{name}_changelist"))
    yield AdminPage(name=f"{name}-add", path=reverse(f"admin:{name}_add"))
    for page in of_row:
        yield AdminPage(name=f"{name}-{page}", path=reverse(f"admin:{name}_{page}", args=[obj.pk]))
    yield AdminPage(name=f"{name}-wrong", path=reverse(f"admin:{name}_add"), typed=wrong)
