"""The table of `test_who_may_edit`: every form and action of the admin, and who may do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile

from tests.inventory.admin.test_editing import HOST_KEY, instance_form, node_form, row, service_form
from tests.releasesite.admin_world import World
from tests.support.ports import free_port

ROOT, ADMIN = "a superuser", "an admin"
OF_SHOP, OF_NOTHING = "an admin of shop", "an admin of nothing"
OF_SHOP_WITH_ALL = "an admin of shop with every permission there is"
EVERYONE = frozenset({ROOT, ADMIN, OF_SHOP, OF_SHOP_WITH_ALL, OF_NOTHING})
SHOPS = EVERYONE - {OF_NOTHING}
UNLIMITED = frozenset({ROOT, ADMIN})
ROOTS = frozenset({ROOT})
NOBODY: frozenset[str] = frozenset()

Data = Callable[[World], dict[str, Any]]
YES: Data = lambda world: {"post": "yes"}  # noqa: E731  # what a page that asks back sends


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request, who may make it, and by what that shows: the answer says `says`, else a GET's is a page, a POST edits.

    of: the name of what it is about (`admin_world`). name: for rows that differ in their data alone.
    """

    route: str
    may: frozenset[str]
    of: str = ""
    data: Data | None = None
    says: str = ""
    name: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, ("POST" if self.data else "GET", self.route, self.of, self.name)))


def both(route: str, what: str, may: frozenset[str], data: Data | None = None, **more: Any) -> Iterator[Row]:
    """Of shop those who are limited to it may as well, of bank only those who see all."""
    yield Row(route=route, may=may, of=f"shop {what}", data=data, **more)
    yield Row(route=route, may=may & UNLIMITED, of=f"bank {what}", data=data, **more)


def selected(action: str, of: str) -> Data:
    return lambda world: {"action": action, "_selected_action": [world[of].pk], "post": "yes"}


def uploaded(name: str, content: bytes) -> Data:
    return lambda world: {"file": SimpleUploadedFile(name, content)}


FOR_ALL = ("inventory_jumphost", "inventory_node")


def files() -> Iterator[Row]:
    for name in ("inventory_service", "inventory_jumphost", "inventory_node", "inventory_instance"):
        yield Row(route=f"{name}_export", may=UNLIMITED if name in FOR_ALL else EVERYONE)
        yield Row(route=f"{name}_import_yaml", may=UNLIMITED)
        yield Row(route=f"{name}_import_yaml", may=UNLIMITED, data=uploaded("x.yaml", b"wrong: 1"), says="wrong")


def services() -> Iterator[Row]:
    yield Row(route="inventory_service_changelist", may=EVERYONE)
    yield Row(route="inventory_service_add", may=UNLIMITED)
    yield Row(route="inventory_service_add", may=UNLIMITED, data=lambda world: service_form(None, name="new"))
    yield from both("inventory_service_history", "service", SHOPS)
    yield from both("inventory_service_change", "service", SHOPS)
    yield from both("inventory_service_delete", "empty service", SHOPS)
    yield from both("inventory_service_delete", "empty service", SHOPS, YES)
    for of, may in (("shop", SHOPS), ("bank", UNLIMITED)):
        change: dict[str, Any] = {"route": "inventory_service_change", "of": f"{of} service"}
        yield Row(**change, may=may, data=edited_service(of))
        yield Row(**change, may=may, data=with_new_instance(of, "shop"), name="a new instance on shop's node")
        yield Row(**change, may=UNLIMITED, data=with_new_instance(of, "bank"), name="a new instance on bank's node")
        listed: dict[str, Any] = {"route": "inventory_service_changelist", "may": may}
        yield Row(**listed, data=selected("sync_now", f"{of} service"), name=f"sync {of}")
        yield Row(**listed, data=selected("delete_selected", f"{of} empty service"), name=f"delete {of}'s empty one")


def edited_service(of: str) -> Data:
    return lambda world: service_form(world[f"{of} service"], keep_releases=9, instances=[row(world[f"{of} instance"])])


def with_new_instance(of: str, node: str) -> Data:
    def form(world: World) -> dict[str, Any]:
        new = {"instance_id": "new", "node": world[f"{node} node"].pk, "port": 80, "deploy_root": "/srv/new"}
        return service_form(world[f"{of} service"], instances=[row(world[f"{of} instance"]), new])

    return form


def nodes() -> Iterator[Row]:
    """They belong to who may see all services; the others read those where an instance of theirs is."""
    yield Row(route="inventory_node_changelist", may=EVERYONE)
    yield from both("inventory_node_change", "node", SHOPS)
    yield from both("inventory_node_history", "node", SHOPS)
    yield Row(route="inventory_node_add", may=UNLIMITED)
    yield Row(route="inventory_node_add", may=UNLIMITED, data=lambda world: node_form(name="mine"))
    unheard: Data = lambda world: node_form(transport="ssh", host="127.0.0.1", ssh_port=free_port())  # noqa: E731
    asks: dict[str, Any] = {"may": UNLIMITED, "data": unheard}
    yield Row(route="inventory_node_host_key", **asks, says="be asked")
    yield Row(route="inventory_node_test", **asks, says="Not tried")
    for of in ("shop node", "bank node", "unused node"):
        about: dict[str, Any] = {"of": of, "may": UNLIMITED}
        yield Row(route="inventory_node_change", **about, data=moved_node(of))
        yield Row(route="inventory_node_host_key", of=of, **asks, says="be asked")
        yield Row(route="inventory_node_test", **about, data=lambda world: node_form(), says="was reached")
        yield Row(route="inventory_node_delete", **about)
        yield Row(route="inventory_node_retire", **about)
    yield Row(route="inventory_node_retire", may=UNLIMITED, of="unused node", data=YES)
    yield Row(route="inventory_node_delete", may=UNLIMITED, of="unused node", data=YES)
    yield Row(route="inventory_node_changelist", may=UNLIMITED, data=selected("delete_selected", "unused node"))


def jump_hosts() -> Iterator[Row]:
    """They belong to who may see all services."""
    new = {"name": "outer", "host": "192.0.2.1", "ssh_user": "jump", "ssh_port": 22, "ssh_host_key": HOST_KEY}
    yield Row(route="inventory_jumphost_changelist", may=UNLIMITED)
    yield Row(route="inventory_jumphost_add", may=UNLIMITED)
    yield Row(route="inventory_jumphost_add", may=UNLIMITED, data=lambda world: new)
    about: dict[str, Any] = {"of": "jump host", "may": UNLIMITED}
    for page in ("change", "history", "delete"):
        yield Row(route=f"inventory_jumphost_{page}", **about)
    yield Row(route="inventory_jumphost_change", **about, data=lambda world: new)
    yield Row(route="inventory_jumphost_delete", **about, data=YES)
    unheard: Data = lambda world: {**new, "host": "127.0.0.1", "ssh_port": free_port(), "ssh_host_key": ""}  # noqa: E731
    silent: Data = lambda world: {**new, "host": "127.0.0.1", "ssh_port": free_port()}  # noqa: E731
    for of in ("", "jump host"):
        yield Row(route="inventory_jumphost_host_key", of=of, may=UNLIMITED, data=unheard, says="be asked")
        yield Row(route="inventory_jumphost_test", of=of, may=UNLIMITED, data=silent, says="be reached")


def moved_node(of: str) -> Data:
    return lambda world: node_form(name=world[of].name, host="192.0.2.1")


def instances() -> Iterator[Row]:
    yield Row(route="inventory_instance_changelist", may=EVERYONE)
    yield Row(route="inventory_instance_add", may=EVERYONE)
    yield from both("inventory_instance_history", "instance", SHOPS)
    yield from both("inventory_instance_change", "instance", SHOPS)
    yield from both("inventory_instance_delete", "spare", SHOPS)
    yield from both("inventory_instance_delete", "spare", SHOPS, YES)
    yield from both("inventory_instance_retire", "spare", SHOPS)
    yield from both("inventory_instance_retire", "spare", SHOPS, YES)
    for of, may in (("shop", SHOPS), ("bank", UNLIMITED)):
        listed: dict[str, Any] = {"route": "inventory_instance_changelist", "may": may}
        rolled = selected("roll_back", f"{of} instance")
        yield Row(**listed, data=rolled, says="/roll-back?", name=f"roll {of} back")
        yield Row(**listed, data=selected("delete_selected", f"{of} spare"), name=f"delete {of}'s spare")
        for node in ("shop", "bank"):
            may_place = may if node == "shop" else UNLIMITED
            new, moved = placed(of, node, port=80, instance_id="new", deploy_root="/srv/new"), placed(of, node, port=81)
            where = f"{of}'s on {node}'s node"
            yield Row(route="inventory_instance_add", may=may_place, data=new, name=where)
            yield Row(route="inventory_instance_change", may=may_place, of=f"{of} instance", data=moved, name=where)


def placed(of: str, node: str, **fields: Any) -> Data:
    return lambda world: instance_form(world[f"{of} instance"], node=world[f"{node} node"].pk, **fields)


def read_only(name: str, what: str, *, lists: frozenset[str], sees: frozenset[str]) -> Iterator[Row]:
    yield Row(route=f"{name}_changelist", may=lists)
    yield Row(route=f"{name}_add", may=NOBODY)
    yield Row(route=f"{name}_add", may=NOBODY, data=YES)
    for page, may in (("change", sees), ("history", sees), ("delete", NOBODY)):
        yield from both(f"{name}_{page}", what, may)
    for page in ("change", "delete"):
        yield from both(f"{name}_{page}", what, NOBODY, YES)


def what_the_system_writes() -> Iterator[Row]:
    for name in ("inventory_auditentry", "inventory_statuschange", "deploys_deploy", "rollbacks_rollback"):
        yield from read_only(name, name.partition("_")[2], lists=EVERYONE, sees=SHOPS)
    yield from read_only("deploys_target", "target", lists=EVERYONE, sees=SHOPS)
    yield from read_only("deploys_package", "package", lists=EVERYONE, sees=SHOPS)
    # Of no service: "shop" and "bank" are one row.
    for name, may in (("deploys_worker", EVERYONE), ("django_q_ormq", ROOTS), ("axes_accessattempt", ROOTS)):
        for each in read_only(name, name.rpartition("_")[2], lists=may, sees=may):
            if not each.of.startswith("bank"):
                yield each


def people_and_tokens() -> Iterator[Row]:
    """Whoever edits those can give himself everything."""
    for name, what in (("auth_user", "user"), ("auth_group", "group")):
        yield Row(route=f"{name}_changelist", may=ROOTS)
        yield Row(route=f"{name}_add", may=ROOTS)
        for page in ("change", "history", "delete"):
            yield Row(route=f"{name}_{page}", may=ROOTS, of=what)
        yield Row(route=f"{name}_delete", may=ROOTS, of=what, data=YES)
        yield Row(route=f"{name}_changelist", may=ROOTS, data=selected("delete_selected", what))
    new_password = {"password1": "another long passphrase", "password2": "another long passphrase"}
    user = {**new_password, "username": "eve", "limited": "all"}
    yield Row(route="auth_user_add", may=ROOTS, data=lambda world: user)
    yield Row(route="auth_user_password_change", may=ROOTS, of="user")
    yield Row(route="auth_user_password_change", may=ROOTS, of="user", data=lambda world: user)
    super_bob = {"username": "bob", "is_superuser": "on", "limited": "all"}
    yield Row(route="auth_user_change", may=ROOTS, of="user", data=lambda world: super_bob)
    yield Row(route="auth_group_add", may=ROOTS, data=lambda world: {"name": "new"})
    yield Row(route="auth_group_change", may=ROOTS, of="group", data=lambda world: {"name": "renamed"})
    token = {"name": "t", "scope": "deploy"}
    yield Row(route="releasesite_apitoken_changelist", may=ROOTS)
    yield Row(route="releasesite_apitoken_add", may=ROOTS)
    yield Row(route="releasesite_apitoken_add", may=ROOTS, data=lambda world: token)
    yield Row(route="releasesite_apitoken_revoke", may=ROOTS, of="token", data=YES)
    for page, may in (("change", ROOTS), ("history", ROOTS), ("delete", NOBODY)):
        yield Row(route=f"releasesite_apitoken_{page}", may=may, of="token")
        if page != "history":
            yield Row(route=f"releasesite_apitoken_{page}", may=NOBODY, of="token", data=YES)


def webhooks() -> Iterator[Row]:
    """They tell of all services, and belong to who may see those."""
    new = {"name": "new", "url": "https://hooks.example.com/x", "body": "slack", "language": "en"}
    form: Data = lambda world: {**new, "events": ["service.held"], "is_active": "on"}  # noqa: E731
    about: dict[str, Any] = {"of": "webhook", "may": UNLIMITED}
    yield Row(route="deploys_webhook_changelist", may=UNLIMITED)
    yield Row(route="deploys_webhook_add", may=UNLIMITED)
    yield Row(route="deploys_webhook_add", may=UNLIMITED, data=form)
    for page in ("change", "history", "delete"):
        yield Row(route=f"deploys_webhook_{page}", **about)
    yield Row(route="deploys_webhook_change", **about, data=form)
    yield Row(route="deploys_webhook_renew_secret", **about, data=YES)
    yield Row(route="deploys_webhook_delete", **about, data=YES)
    yield Row(route="deploys_webhook_changelist", may=UNLIMITED, data=selected("delete_selected", "webhook"))
    yield Row(route="deploys_webhookdelivery_changelist", may=UNLIMITED)
    yield Row(route="deploys_webhookdelivery_add", may=NOBODY)
    yield Row(route="deploys_webhookdelivery_add", may=NOBODY, data=YES)
    sent: dict[str, Any] = {"of": "delivery"}
    for page, may in (("change", UNLIMITED), ("history", UNLIMITED), ("delete", NOBODY)):
        yield Row(route=f"deploys_webhookdelivery_{page}", **sent, may=may)
    for page in ("change", "delete"):
        yield Row(route=f"deploys_webhookdelivery_{page}", **sent, may=NOBODY, data=YES)
    yield Row(route="deploys_webhookdelivery_send_again", **sent, may=UNLIMITED, data=YES)


SECTIONS = {
    "files": tuple(files()),
    "services": tuple(services()),
    "jump hosts": tuple(jump_hosts()),
    "nodes": tuple(nodes()),
    "instances": tuple(instances()),
    "what the system writes": tuple(what_the_system_writes()),
    "people and tokens": tuple(people_and_tokens()),
    "webhooks": tuple(webhooks()),
    "the rest": tuple(Row(route=name, may=EVERYONE) for name in ("index", "jsi18n")),
}
ROWS = tuple(each for section in SECTIONS.values() for each in section)
# The login and one's own password; and what shows no more than the rows above, or is tested below.
WITHOUT = {"login", "logout", "password_change", "password_change_done", "autocomplete", "view_on_site", "app_list"}
