"""Whatever is wrong with what comes back from the identity provider: nobody is logged in, and page, log and audit say so."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from joserfc.jwk import RSAKey
from pytest_django.fixtures import Settings

from inventory.models import AuditEntry
from releasesite.login.oidc import http, views
from releasesite.login.oidc.client import client_of
from tests.releasesite.login.oidc_login import configured, is_logged_in, log_in, provider
from tests.support.lying_provider import (
    FOREIGN_KEY,
    KEY,
    SECRET,
    LyingProvider,
    lying_provider,
    signed,
    signed_with_text,
    unsigned,
)

__all__ = ("provider",)  # a fixture

pytestmark = pytest.mark.django_db

PUBLIC_JWK = FOREIGN_KEY.as_dict(private=False)


def of_the_secret(claims: dict[str, Any]) -> str:
    return signed_with_text(claims, SECRET.encode())


def of_the_public_key(claims: dict[str, Any]) -> str:
    return signed_with_text(claims, KEY.as_pem(private=False))


def of_a_foreign_key(claims: dict[str, Any]) -> str:
    return signed(claims, key=FOREIGN_KEY)


def of_a_key_in_its_header(claims: dict[str, Any]) -> str:
    return signed(claims, key=FOREIGN_KEY, kid="in-the-header", jwk=PUBLIC_JWK)


def changed_afterwards(claims: dict[str, Any]) -> str:
    head, _body, signature = signed(claims).split(".")
    return ".".join((head, unsigned({**claims, "groups": ["admins"]}).split(".")[1], signature))


SIGNATURES: dict[str, Any] = {
    "alg none": unsigned,
    "alg None, as an attacker writes it": lambda claims: unsigned(claims, "nOnE"),
    "HS256 with the public key": of_the_public_key,
    "HS256 with the client's secret": of_the_secret,
    "a foreign key under the provider's name": of_a_foreign_key,
    "a key that the token brings along": of_a_key_in_its_header,
    "changed after it was signed": changed_afterwards,
    "no token at all": lambda claims: "not.a.token",
    "none of ours, empty": lambda claims: "",
}
CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "wiki"},
    "another audience, though we are the authorized party": {"aud": "wiki", "azp": "releases"},
    "others among the audience": {"aud": ["releases", "wiki"], "azp": "releases"},
    "no audience": {"aud": None},
    "another authorized party": {"azp": "wiki"},
    "another nonce": {"nonce": "of-yesterday"},
    "no nonce": {"nonce": None},
    "expired": {"exp": int(time.time()) - 3600},
    "without an end": {"exp": None},
    "from the future": {"iat": int(time.time()) + 86_400},
    "not valid yet": {"nbf": int(time.time()) + 86_400},
    "no subject": {"sub": None},
    "a subject that is no text": {"sub": 1},
    "a subject with a line break": {"sub": "ada\n1"},
    "an access token of another login": {"at_hash": "bm90IHRoaXMgb25l"},
}


def assert_refused(browser: Client, answer: Any, *, reason: str = "") -> None:
    assert answer.status_code == 403
    assert "Not logged in" in answer.content.decode()
    assert not is_logged_in(browser)
    assert not User.objects.exists()
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_address, entry.object_id) == ("login.fail", "127.0.0.1", "(nobody's name)")
    assert reason in entry.detail["reason"]


@pytest.mark.parametrize("sign", SIGNATURES.values(), ids=SIGNATURES.keys())
def test_a_signature_that_is_not_the_providers_is_refused(
    provider: LyingProvider, sign: Any, caplog: pytest.LogCaptureFixture
) -> None:
    provider.sign = sign
    browser = Client()

    answer = log_in(browser, provider)

    assert_refused(browser, answer, reason="id token: ")
    assert "did not pass the checks" in answer.content.decode()
    assert "login by the identity provider refused: id token: " in caplog.text


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS.keys())
def test_a_token_that_is_not_for_this_login_is_refused(provider: LyingProvider, claims: dict[str, Any]) -> None:
    provider.claims = claims
    browser = Client()

    assert_refused(browser, log_in(browser, provider))


def test_an_answer_without_an_id_token_is_refused(provider: LyingProvider) -> None:
    provider.token = {"id_token": None}
    browser = Client()

    assert_refused(browser, log_in(browser, provider), reason="no id token")


def test_an_answer_of_another_issuer_is_refused(provider: LyingProvider) -> None:
    browser = Client()

    assert_refused(browser, log_in(browser, provider, iss="https://evil.example"), reason="another issuer")


def test_a_code_that_the_provider_does_not_know_is_refused(provider: LyingProvider) -> None:
    browser = Client()

    assert_refused(browser, log_in(browser, provider, code="guessed"), reason="invalid_grant")


def test_a_person_who_declines_is_told_so(provider: LyingProvider) -> None:
    browser = Client()

    answer = log_in(browser, provider, error="access_denied", error_description="<b>no</b>")

    assert_refused(browser, answer, reason="access_denied: <b>no</b>")
    assert "It says: access_denied." in answer.content.decode()


@pytest.mark.parametrize("state", ["", "guessed"])
def test_an_answer_that_nobody_asked_for_is_refused(provider: LyingProvider, state: str) -> None:
    browser = Client()

    answer = log_in(browser, provider, state=state)

    assert_refused(browser, answer, reason="state")
    assert "/token" not in provider.asked


def test_an_answer_counts_once(provider: LyingProvider) -> None:
    browser = Client()
    answer = provider.log_in(browser.get("/login/oidc")["Location"])
    assert browser.get("/login/oidc/callback", answer).status_code == 302

    again = browser.get("/login/oidc/callback", answer)

    assert again.status_code == 403
    assert "not begun in this browser, was finished before" in again.content.decode()
    browser.post("/logout")
    assert browser.get("/login/oidc/callback", answer).status_code == 403
    assert not is_logged_in(browser)


def test_an_answer_counts_in_the_browser_that_asked_alone(provider: LyingProvider) -> None:
    """Else an attacker's own code would log a victim in as the attacker."""
    attacker, victim = Client(), Client()
    victim.get("/login/oidc")

    answer = victim.get("/login/oidc/callback", provider.log_in(attacker.get("/login/oidc")["Location"]))

    assert_refused(victim, answer, reason="state")


def test_an_answer_that_comes_too_late_is_refused(provider: LyingProvider) -> None:
    browser = Client()
    answer = provider.log_in(browser.get("/login/oidc")["Location"])
    session = browser.session
    session["oidc_begun"][answer["state"]]["at"] -= 901
    session.save()

    assert_refused(browser, browser.get("/login/oidc/callback", answer), reason="state")


def test_a_code_of_another_login_of_the_same_browser_is_refused(provider: LyingProvider) -> None:
    """PKCE: the verifier belongs to one code."""
    browser = Client()
    first = provider.log_in(browser.get("/login/oidc")["Location"])
    second = provider.log_in(browser.get("/login/oidc")["Location"])

    answer = browser.get("/login/oidc/callback", {"code": first["code"], "state": second["state"]})

    assert_refused(browser, answer, reason="invalid_grant")


UNAVAILABLE: dict[str, dict[str, Any]] = {
    "another issuer's document": {"document": {"issuer": "https://evil.example"}},
    "no place for keys": {"document": {"jwks_uri": None}},
    "an endpoint that is none": {"document": {"token_endpoint": "ftp://127.0.0.1/token"}},
    "no document": {"answers": {"/.well-known/openid-configuration": (200, {}, b"<html>")}},
    "a list": {"answers": {"/.well-known/openid-configuration": (200, {}, b"[]")}},
    "an error": {"answers": {"/.well-known/openid-configuration": (500, {}, b"")}},
    "a redirect": {"answers": {"/.well-known/openid-configuration": (302, {"Location": "/elsewhere"}, b"")}},
    "endless": {"document": {"padding": "x" * http.MOST_BYTES}},
}


@pytest.mark.parametrize("lies", UNAVAILABLE.values(), ids=UNAVAILABLE.keys())
def test_a_provider_that_cant_be_asked_is_told_and_local_accounts_log_in(
    provider: LyingProvider, lies: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    for name, lie in lies.items():
        setattr(provider, name, lie)

    assert_unavailable(Client().get("/login/oidc?next=/history", follow=True))

    assert f"{provider.issuer} " in caplog.text
    assert "/elsewhere" not in provider.asked


def test_a_provider_that_is_down_is_told(provider: LyingProvider, settings: Settings) -> None:
    with lying_provider() as other:
        settings.OIDC = configured(other.issuer)

    assert_unavailable(Client().get("/login/oidc", follow=True))


def assert_unavailable(answer: Any) -> None:
    page = answer.content.decode()
    assert answer.redirect_chain[-1][0].startswith("/login?next=")
    assert "Example Login can&#x27;t be asked at the moment" in page
    assert 'name="password"' in page


@pytest.mark.parametrize("path", ["/token", "/jwks"])
def test_a_provider_that_fails_in_the_middle_is_told(provider: LyingProvider, path: str) -> None:
    provider.answers = {path: (503, {}, b"")}
    browser = Client()

    assert log_in(browser, provider)["Location"].startswith("/login?next=")
    assert not is_logged_in(browser)


def test_the_clients_secret_follows_no_redirect(provider: LyingProvider) -> None:
    with lying_provider() as other:
        provider.answers = {"/token": (307, {"Location": f"{other.issuer}/token"}, b"")}

        log_in(Client(), provider)

        assert other.asked == []


def test_a_slow_provider_holds_nobody_up(provider: LyingProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_SECONDS", 0.2)
    provider.pause_seconds = 1.0

    assert_unavailable(Client().get("/login/oidc", follow=True))


def test_a_new_key_of_the_providers_is_fetched(provider: LyingProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(Client(), provider)
    new = RSAKey.generate_key(2048, {"kid": "new", "use": "sig", "alg": "RS256"})
    monkeypatch.setattr("tests.support.lying_provider.KEY", new)
    provider.sign = lambda claims: signed(claims, key=new, kid="new")
    browser = Client()

    log_in(browser, provider)

    assert is_logged_in(browser)


def test_strangers_do_not_fill_the_audit(
    provider: LyingProvider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(views, "FAILURES_A_MINUTE", 3)
    for _ in range(5):
        Client().get("/login/oidc/callback?state=x&code=y")

    assert AuditEntry.objects.count() == 3
    assert caplog.text.count("login by the identity provider refused") == 5


@pytest.fixture(autouse=True)
def warnings_are_seen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.WARNING):
        yield
    client_of.cache_clear()
