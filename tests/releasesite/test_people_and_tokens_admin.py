"""Logins are in the audit; tokens are made in the admin, shown once, and revoked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from inventory.models import AuditEntry
from inventory.security.access import Scope
from releasesite.api.people import access_of_user
from releasesite.models import ApiToken
from tests.support.fleet import make_service

pytestmark = pytest.mark.django_db

PASSWORD = "a long passphrase"


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root", password=PASSWORD))
    return client


def actions() -> list[tuple[str, str]]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", "actor_name"))


def test_a_login_and_a_logout_are_in_the_audit(client: Client) -> None:
    User.objects.create_user("ann", password=PASSWORD)

    client.post(reverse("login"), {"username": "ann", "password": PASSWORD})
    client.post(reverse("logout"))

    assert actions() == [("login", "ann"), ("logout", "ann")]
    assert AuditEntry.objects.first().actor_address == "127.0.0.1"  # type: ignore[union-attr]


def test_a_failed_login_is_too(client: Client) -> None:
    User.objects.create_user("ann", password=PASSWORD)

    client.post(reverse("login"), {"username": "ann", "password": "wrong"})

    assert actions() == [("login.fail", "ann")]


def test_a_password_typed_into_the_wrong_field_is_not_kept(client: Client) -> None:
    client.post(reverse("login"), {"username": "hunter2hunter2", "password": "x"})

    [(action, name)] = actions()
    assert action == "login.fail"
    assert "hunter2" not in name


def test_a_new_password_is_in_the_audit_and_the_password_is_not(client: Client) -> None:
    client.force_login(User.objects.create_user("ann", password=PASSWORD))
    new = "another long passphrase"

    client.post(reverse("password"), {"old_password": PASSWORD, "new_password1": new, "new_password2": new})

    assert actions()[-1] == ("user.password", "ann")
    assert "passphrase" not in str(list(AuditEntry.objects.values()))


def test_a_token_is_shown_once(root: Client) -> None:
    service = make_service("shop")

    answer = root.post(
        reverse("admin:releasesite_apitoken_add"),
        {
            "name": "scheduler",
            "scope": "deploy",
            "services": [service.pk],
            "expires_in_days": 30,
            "allowed_networks": "10.0.0.0/8",
        },
    )

    found = re.search(r'id="secret"[^>]*value="([^"]+)"', answer.content.decode())
    assert found is not None
    secret = found[1]
    assert "no-store" in answer["Cache-Control"]
    token = ApiToken.objects.get()
    assert (token.name, token.scope, token.all_services) == ("scheduler", "deploy", False)
    assert token.expiry is not None
    pages = (reverse("admin:releasesite_apitoken_changelist"), _change_url(token), reverse("admin:index"))
    assert not any(secret in root.get(page).content.decode() for page in pages)
    assert secret not in str(list(AuditEntry.objects.values()))
    assert root.get("/v1/deploy/list", headers={"Authorization": f"Bearer {secret}"}).status_code != 401


def test_a_bad_network_is_refused(root: Client) -> None:
    page = root.post(
        reverse("admin:releasesite_apitoken_add"), {"name": "x", "scope": "read", "allowed_networks": "10.0.0.300"}
    ).content.decode()

    assert "is not a network" in page
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked(root: Client) -> None:
    token, secret = ApiToken.objects.issue(name="t", scope="read")
    assert "Revoke t" in root.get(_change_url(token)).content.decode()

    root.post(reverse("admin:releasesite_apitoken_revoke", args=[token.pk]))

    token.refresh_from_db()
    assert token.revoked_at is not None
    client = Client()
    assert client.get("/v1/deploy/list", headers={"Authorization": f"Bearer {secret}"}).status_code == 401
    assert AuditEntry.objects.get(action="token.revoke").actor_name == "root"


def test_a_token_is_neither_edited_nor_deleted(root: Client) -> None:
    token, _secret = ApiToken.objects.issue(name="t", scope="read")

    assert root.post(_change_url(token), {"name": "other"}).status_code == 403
    assert root.post(reverse("admin:releasesite_apitoken_delete", args=[token.pk]), {"post": "yes"}).status_code == 403


def test_an_edit_of_a_person_is_in_the_audit_without_the_password(root: Client) -> None:
    root.post(
        reverse("admin:auth_user_add"),
        {
            "username": "bob",
            "password1": "correct horse battery",
            "password2": "correct horse battery",
            "limited": "all",
        },
    )

    entry = AuditEntry.objects.get(action="user.create")
    assert entry.object_id == "bob"
    assert "horse" not in str(list(AuditEntry.objects.values()))


def _change_url(token: ApiToken) -> str:
    return reverse("admin:releasesite_apitoken_change", args=[token.pk])


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_a_role_is_neither_renamed_nor_emptied_nor_deleted(root: Client, role: str) -> None:
    group = Group.objects.get(name=role)
    permissions = set(group.permissions.all())

    change = root.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "others"})
    delete = root.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"}
    root.post(reverse("admin:auth_group_changelist"), chosen)

    assert (change.status_code, delete.status_code) == (403, 403)
    assert set(Group.objects.get(pk=group.pk, name=role).permissions.all()) == permissions


def test_a_group_that_is_no_role_is_edited_and_deleted(root: Client) -> None:
    group = Group.objects.create(name="on call")

    root.post(reverse("admin:auth_group_change", args=[group.pk]), {"name": "night"})
    assert Group.objects.filter(name="night").exists()
    root.post(reverse("admin:auth_group_delete", args=[group.pk]), {"post": "yes"})

    assert not Group.objects.filter(pk=group.pk).exists()


def _person(**fields: Any) -> dict[str, Any]:
    return {"username": "bob", "is_active": "on", "limited": "all", **fields}


def test_a_person_gets_a_role_and_services_in_one_form(root: Client) -> None:
    shop, bank = make_service("shop"), make_service("bank")
    operator = Group.objects.get(name="operator")
    passwords = {"password1": "correct horse battery", "password2": "correct horse battery"}

    made = _person(**passwords, groups=[operator.pk], limited="some", services=[shop.pk])
    root.post(reverse("admin:auth_user_add"), made)

    bob = User.objects.get(username="bob")
    assert bob.check_password("correct horse battery")
    assert access_of_user(bob, address="").allows(Scope.DEPLOY)
    assert access_of_user(bob, address="").services == frozenset({shop.pk})
    assert ">shop<" in root.get(reverse("admin:auth_user_changelist")).content.decode()

    change = reverse("admin:auth_user_change", args=[bob.pk])
    root.post(change, _person(groups=[operator.pk], limited="some", services=[shop.pk, bank.pk]))
    assert access_of_user(bob, address="").services == frozenset({shop.pk, bank.pk})
    root.post(change, _person(groups=[operator.pk], limited="some"))
    assert access_of_user(bob, address="").services == frozenset()
    root.post(change, _person(limited="all"))
    assert access_of_user(bob, address="").services is None
    assert not access_of_user(User.objects.get(pk=bob.pk), address="").scopes
    changes = AuditEntry.objects.filter(action="user.change").order_by("pk")
    assert changes[0].detail["changes"]["services"] == ["shop", "bank, shop"]
    assert changes[2].detail["changes"]["limited"] == ["some", "all"]


def test_no_hash_of_a_password_is_on_a_page(root: Client) -> None:
    bob = User.objects.create_user("bob", password=PASSWORD)
    algorithm, *_rest, digest = bob.password.split("$")

    page = root.get(reverse("admin:auth_user_change", args=[bob.pk])).content.decode()

    assert digest not in page
    assert digest[:6] not in page
    assert algorithm not in page
    assert reverse("admin:auth_user_password_change", args=[bob.pk]) in page


def test_a_group_keeps_the_permissions_that_its_form_offers(root: Client) -> None:
    group = Group.objects.create(name="night")
    seen = Permission.objects.get(codename="view_webhook")
    kept = Permission.objects.get(codename="view_session")  # of no page of the admin
    group.permissions.add(kept)
    url = reverse("admin:auth_group_change", args=[group.pk])

    page = root.get(url).content.decode()
    root.post(url, {"name": "night", "permissions": [seen.pk, kept.pk]})

    assert "Webhooks · see" in page
    assert set(group.permissions.all()) == {seen, kept}
