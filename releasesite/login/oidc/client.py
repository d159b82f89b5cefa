"""The provider as Authlib knows it, with what we ask beyond: its issuer, its algorithms, and whom a token is for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.django_client import DjangoOAuth2App
from joserfc.errors import JoseError
from requests import RequestException

from releasesite.login.oidc.configured import provider
from releasesite.login.oidc.errors import Unavailable
from releasesite.login.oidc.http import ProviderSession, session_options
from releasesite.oidc_environment import OidcProvider

# Signatures that the provider alone can make. HS256 is made with our secret, or with any text that is taken for a key.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
ENDPOINTS = (*NEEDED, "userinfo_endpoint", "end_session_endpoint")
METADATA_SECONDS = 3600
LEEWAY_SECONDS = 60


class Client(DjangoOAuth2App):  # type: ignore[misc]  # authlib has no types
    """One for each process and configuration. What the provider says of itself is asked anew each hour."""

    client_cls = ProviderSession
    server_metadata: dict[str, Any]

    def load_server_metadata(self) -> dict[str, Any]:
        """Raises Unavailable. Nothing is seen of an answer before all of it is checked: threads share this."""
        metadata = self.server_metadata
        if time.time() - metadata.get("_loaded_at", 0) > METADATA_SECONDS:
            metadata = self.server_metadata = {**metadata_of(self.ask()), "_loaded_at": time.time()}
        return metadata

    def ask(self) -> dict[str, Any]:
        """The provider's own document, with its issuer and endpoints checked. Raises Unavailable."""
        with reaching(self.name), self._get_session() as session:
            answer = session.request("GET", self._server_metadata_url, withhold_token=True)
            answer.raise_for_status()
            document = answer.json()
        check(document, issuer=self.name)
        asked: dict[str, Any] = document
        return asked

    def fetch_jwk_set(self, force: bool = False) -> Any:
        with reaching(self.name):
            return super().fetch_jwk_set(force=force)

    def claims_of(self, token: Mapping[str, Any], *, nonce: str) -> dict[str, Any]:
        """Of the id token, once all of it is right. Raises JoseError, AuthlibBaseError, ValueError and Unavailable."""
        if not isinstance(token.get("id_token"), str):
            raise ValueError("there is no id token in the answer")
        options = {
            "iss": {"essential": True, "value": self.name},
            "aud": {"essential": True, "value": self.client_id},
            "sub": {"essential": True},
        }
        claims = dict(self.parse_id_token(token, nonce=nonce, claims_options=options, leeway=LEEWAY_SECONDS))
        # Authlib is content with us among others (and `azp`): then it is somebody else's token, too.
        if claims["aud"] not in (self.client_id, [self.client_id]):
            raise ValueError("the id token is for others, too")
        return claims


def check(document: Any, *, issuer: str) -> None:
    """Raises Unavailable. The issuer has to be the very one that was asked for (OpenID Connect Discovery 1.0, 4.3)."""
    if not isinstance(document, dict):
        raise Unavailable(f"{issuer} answers what is no identity provider's answer")
    if document.get("issuer") != issuer:
        raise Unavailable(
            f"{issuer} calls itself {str(document.get('issuer'))[:200]}: RELEASE_OIDC_ISSUER must be that"
        )
    scheme = issuer.partition(":")[0]
    for name in ENDPOINTS:
        if name in NEEDED and name not in document:
            raise Unavailable(f"{issuer} names no {name}")
        if not str(document.get(name, issuer)).startswith((f"{scheme}://", "https://")):
            raise Unavailable(f"{issuer} names an {name} without TLS")


def metadata_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is used of it: all that is in here overrides the options of our sessions."""
    methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    return {
        "issuer": document["issuer"],
        **{name: document[name] for name in ENDPOINTS if name in document},
        "id_token_signing_alg_values_supported": list(ALGORITHMS),
        "token_endpoint_auth_method": "client_secret_basic"
        if "client_secret_basic" in methods
        else "client_secret_post",
    }


@contextmanager
def reaching(issuer: str) -> Iterator[None]:
    """Whatever keeps us from the provider is Unavailable."""
    try:
        yield
    except RequestException as error:
        raise Unavailable(f"{issuer} cannot be reached: {error}") from error
    except (ValueError, AuthlibBaseError, JoseError) as error:
        raise Unavailable(f"{issuer} answers what is no identity provider's answer: {error}") from error


def client() -> Client:
    return client_of(provider())


@lru_cache(maxsize=4)
def client_of(known: OidcProvider) -> Client:
    return Client(
        framework=None,
        name=known.issuer,
        client_id=known.client_id,
        client_secret=known.client_secret,
        server_metadata_url=known.issuer.rstrip("/") + "/.well-known/openid-configuration",
        client_kwargs={
            "scope": f"openid {known.scopes}",
            "code_challenge_method": "S256",
            **session_options(known),
        },
    )
