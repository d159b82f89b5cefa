"""A login by a provider that lies, walked as a browser walks it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from releasesite import page_urls
from releasesite.login.oidc.client import client_of
from releasesite.oidc_environment import OidcProvider
from tests.support.lying_provider import CLIENT_ID, SECRET, LyingProvider, lying_provider

# Imported before a test configures a provider: the routes of other tests are those without one.
assert all(route.name != "oidc-login" for route in page_urls.urlpatterns)
ROLES = (("viewer", "staff"), ("operator", "operators"), ("admin", "admins"))


@pytest.fixture
def provider(settings: Settings) -> Iterator[LyingProvider]:
    with lying_provider() as lying:
        settings.OIDC = configured(lying.issuer)
        settings.ROOT_URLCONF = "tests.support.provider_urls"
        yield lying
        client_of.cache_clear()


def configured(issuer: str, **changed: Any) -> OidcProvider:
    given: dict[str, Any] = {
        "issuer": issuer,
        "name": "Example Login",
        "client_id": CLIENT_ID,
        "client_secret": SECRET,
        "scopes": "profile email",
        "groups_claim": "groups",
        "roles": tuple((role, frozenset({group})) for role, group in ROLES),
        "services_claim": "",
        "ca_file": "",
        "proxy": "",
    }
    return OidcProvider(**{**given, **changed})


def log_in(browser: Client, provider: LyingProvider, query: str = "", **answer: str) -> Any:
    """The page that the browser is on in the end. answer: of the provider, in the place of what is right."""
    out = browser.get(f"/login/oidc{query}")
    assert out.status_code == 302
    return browser.get("/login/oidc/callback", {**provider.log_in(out["Location"]), **answer})


def is_logged_in(browser: Client) -> bool:
    return "_auth_user_id" in browser.session
