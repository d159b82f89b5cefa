"""Who logs in by the identity provider, what they may do then, and what is taken away again."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from inventory.models import AuditEntry
from releasesite.models import Identity, ServiceLimit
from tests.releasesite.login.oidc_login import configured, is_logged_in, log_in, provider
from tests.support.connect_proxy import connect_proxy
from tests.support.database import process_environment
from tests.support.fleet import make_service
from tests.support.lying_provider import LyingProvider

__all__ = ("provider",)  # a fixture

pytestmark = pytest.mark.django_db


def roles(name: str = "ada") -> set[str]:
    return set(User.objects.get(username=name).groups.values_list("name", flat=True))


def test_a_login_makes_an_account_with_the_roles_of_the_groups(provider: LyingProvider) -> None:
    provider.claims = {"groups": ["operators", "staff", "others"], "given_name": "Ada", "email": "ada@example.com"}
    browser = Client()

    answer = log_in(browser, provider, "?next=/history")

    assert (answer.status_code, answer["Location"]) == (302, "/history")
    assert browser.get("/history").status_code == 200
    ada = User.objects.get(username="ada")
    assert (ada.first_name, ada.email, ada.has_usable_password()) == ("Ada", "ada@example.com", False)
    assert roles() == {"operator", "viewer"}
    made, login = AuditEntry.objects.order_by("pk")
    assert (made.action, made.actor_name, made.actor_address) == ("user.create", "ada", "127.0.0.1")
    assert (login.action, login.object_id, login.detail) == ("login", "ada", {"provider": provider.issuer})


def test_the_same_person_comes_again_under_whatever_name(provider: LyingProvider) -> None:
    log_in(Client(), provider)
    provider.claims = {"preferred_username": "ada.lovelace", "family_name": "Lovelace"}

    log_in(Client(), provider)

    assert User.objects.get().username == "ada"
    assert User.objects.get().last_name == "Lovelace"


def test_a_group_taken_away_takes_the_role_away_at_the_next_login(provider: LyingProvider) -> None:
    provider.claims = {"groups": ["admins", "operators"]}
    earlier = Client()
    log_in(earlier, provider)
    provider.claims = {"groups": ["operators"]}

    log_in(Client(), provider)

    assert roles() == {"operator"}
    assert earlier.get("/admin/").status_code == 403
    assert AuditEntry.objects.get(action="user.change").detail["changes"] == {"groups": ["admin, operator", "operator"]}


@pytest.mark.parametrize("groups", [[], None, "nobody", ["Operators"], {"operators": True}, [["operators"]]])
def test_without_a_group_that_has_a_role_nobody_gets_in(provider: LyingProvider, groups: Any) -> None:
    log_in(Client(), provider)
    provider.claims = {"groups": groups}
    browser = Client()

    answer = log_in(browser, provider)

    assert answer.status_code == 403
    assert "none of your groups there has a role here" in answer.content.decode()
    assert not is_logged_in(browser)
    assert roles() == set()
    assert "no group that gives a role" in AuditEntry.objects.get(action="login.fail").detail["reason"]


def test_a_stranger_without_a_role_leaves_no_account(provider: LyingProvider) -> None:
    provider.claims = {"groups": ["staff of another house"]}

    assert log_in(Client(), provider).status_code == 403

    assert not User.objects.exists()


@pytest.mark.parametrize("local", ["ada", "Ada"])
def test_a_local_account_is_not_taken_over_by_name_or_address(provider: LyingProvider, local: str) -> None:
    User.objects.create_superuser(local, email="ada@example.com", password="correct horse")
    provider.claims = {"email": "ada@example.com", "email_verified": True}
    browser = Client()

    log_in(browser, provider)

    assert User.objects.get(pk=browser.session["_auth_user_id"]).username == "ada@127.0.0.1"
    assert Client().post("/login", {"username": local, "password": "correct horse"}).status_code == 302
    assert User.objects.get(username=local).is_superuser
    assert Identity.objects.get().user.username == "ada@127.0.0.1"


def test_a_name_is_made_of_what_a_name_may_hold(provider: LyingProvider) -> None:
    provider.claims = {"preferred_username": "HOUSE\\ada lovelace\u202e", "sub": "auth|1"}
    log_in(Client(), provider)
    provider.claims = {"preferred_username": None, "sub": "auth|2"}
    log_in(Client(), provider)

    assert set(User.objects.values_list("username", flat=True)) == {"HOUSE-ada-lovelace", "auth-2"}


def test_what_an_admin_gave_here_beyond_the_groups_does_not_last(provider: LyingProvider) -> None:
    log_in(Client(), provider)
    ada = User.objects.get()
    ada.set_password("correct horse")
    ada.is_superuser = True
    ada.save()

    log_in(Client(), provider)

    ada.refresh_from_db()
    assert (ada.is_superuser, ada.has_usable_password()) == (False, False)


def test_whom_an_admin_keeps_out_stays_out(provider: LyingProvider) -> None:
    log_in(Client(), provider)
    User.objects.update(is_active=False)
    browser = Client()

    answer = log_in(browser, provider)

    assert (answer.status_code, is_logged_in(browser)) == (403, False)
    assert "closed your account" in answer.content.decode()


def test_services_come_by_a_claim_of_their_own(provider: LyingProvider, settings: Settings) -> None:
    settings.OIDC = configured(provider.issuer, services_claim="services")
    make_service("shop")
    make_service("bank")

    def seen(claim: Any) -> set[str] | None:
        provider.claims = {"services": claim}
        log_in(Client(), provider)
        limit = ServiceLimit.objects.filter(user__username="ada").first()
        return None if limit is None else set(limit.services.values_list("name", flat=True))

    assert seen(["shop", "unknown"]) == {"shop"}
    assert seen("bank") == {"bank"}
    assert seen(["*"]) is None
    assert seen(None) == set()
    assert AuditEntry.objects.filter(action="user.change").latest("pk").detail["changes"] == {"services": ["*", ""]}


def test_groups_that_only_userinfo_tells_count_if_it_is_of_the_same_person(provider: LyingProvider) -> None:
    provider.claims = {"groups": None}
    provider.userinfo = {"groups": ["operators"]}
    assert log_in(Client(), provider).status_code == 302
    provider.userinfo = {"groups": ["admins"], "sub": "bob-1"}

    answer = log_in(Client(), provider)

    assert answer.status_code == 403
    assert roles() == {"operator"}


def test_a_person_of_the_provider_has_no_password_to_change_or_to_set(provider: LyingProvider) -> None:
    browser = Client()
    log_in(browser, provider)
    ada = User.objects.get()
    root = Client()
    root.force_login(User.objects.create_superuser("root"))

    assert "/password" not in browser.get("/").content.decode()
    assert browser.get("/password")["Location"] == "/"
    person = root.get(f"/admin/auth/user/{ada.pk}/change/").content.decode()
    assert f"None: logs in at {provider.issuer}." in person
    assert "The identity provider says it, at each login." in person
    given = {"password1": "correct horse battery", "password2": "correct horse battery", "usable_password": "true"}
    assert root.post(f"/admin/auth/user/{ada.pk}/password/", given).status_code == 302
    form = {"username": "ada", "is_active": "on", "is_superuser": "on", "limited": "all", "groups": []}
    assert root.post(f"/admin/auth/user/{ada.pk}/change/", form).status_code == 302
    ada.refresh_from_db()
    assert (ada.has_usable_password(), ada.is_superuser, roles()) == (False, False, {"operator"})


def test_logging_out_goes_on_to_the_provider(provider: LyingProvider) -> None:
    browser = Client()
    log_in(browser, provider)
    id_token = browser.session["oidc_id_token"]

    answer = browser.post("/logout")

    assert not is_logged_in(browser)
    assert answer["Refresh"].startswith(f"0; url={provider.issuer}/end?")
    assert f"id_token_hint={id_token}" in answer["Refresh"]
    assert "post_logout_redirect_uri=http%3A%2F%2Ftestserver%2Flogin" in answer["Refresh"]


def test_where_the_provider_ends_no_sessions_ours_ends_all_the_same(provider: LyingProvider) -> None:
    provider.document = {"end_session_endpoint": None}
    browser = Client()
    log_in(browser, provider)

    assert browser.post("/logout")["Location"] == "/login"
    assert not is_logged_in(browser)


def test_a_local_account_logs_in_and_out_as_ever(provider: LyingProvider) -> None:
    User.objects.create_user("bob", password="correct horse")
    browser = Client()

    assert b"Log in with Example Login" in browser.get("/login").content
    assert browser.post("/login", {"username": "bob", "password": "correct horse"}).status_code == 302
    assert browser.post("/logout")["Location"] == "/login"
    assert provider.asked == []


def test_it_never_leads_away_from_here(provider: LyingProvider) -> None:
    assert log_in(Client(), provider, "?next=https://evil.example/")["Location"] == reverse("overview")


def test_a_provider_that_takes_the_secret_in_the_form_alone_gets_it_there(provider: LyingProvider) -> None:
    provider.document = {"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"]}

    log_in(Client(), provider)

    assert User.objects.exists()


def test_the_way_to_the_provider_may_lead_through_a_proxy(provider: LyingProvider, settings: Settings) -> None:
    issuer = f"http://login.example.com:{provider.port}"
    provider.document = {"issuer": issuer}
    with connect_proxy() as proxy:
        proxy.names["login.example.com"] = "127.0.0.1"
        settings.OIDC = configured(issuer, proxy=f"http://{proxy.netloc}")

        out = Client().get("/login/oidc")

    assert out["Location"].startswith(f"{provider.issuer}/authorization?")
    assert proxy.targets() == [f"GET {issuer}/.well-known/openid-configuration"]


def test_where_no_provider_is_configured_there_is_nothing_of_it() -> None:
    assert Client().get("/login/oidc").status_code == 404
    assert b"oidc" not in Client().get("/login").content
    code = (
        "import django, sys; django.setup(); from django.urls import get_resolver; get_resolver().url_patterns; "
        "print([name for name in sys.modules if name.startswith(('authlib', 'joserfc', 'releasesite.login.oidc'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=process_environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]", done.stderr
