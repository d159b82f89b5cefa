"""What `doctor` finds about the identity provider, by asking it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from authlib.integrations.base_client import OAuthError

from releasesite.doctor import Finding, bad, good, note
from releasesite.login.oidc.client import ALGORITHMS, Client, client, reaching
from releasesite.login.oidc.configured import provider
from releasesite.login.oidc.errors import Unavailable

SECRET_FILE = "RELEASE_OIDC_CLIENT_SECRET_FILE"


def findings() -> Iterator[Finding]:
    yield from _secret_file(Path(os.environ.get(SECRET_FILE, "")))
    try:
        document = client().ask()
        yield from _document(document)
        yield _client(client())
    except Unavailable as error:
        yield bad(
            f"{error}.", "Until it can be asked, only local accounts log in. See RELEASE_OIDC_ISSUER, _CA_FILE, _PROXY."
        )


def _secret_file(path: Path) -> Iterator[Finding]:
    if path.is_file() and path.stat().st_mode & 0o007:
        yield note(f"{path} can be read by every account here.", f"chmod 0400 {path}")


def _document(document: dict[str, object]) -> Iterator[Finding]:
    issuer = provider().issuer
    algorithms = document.get("id_token_signing_alg_values_supported")
    if isinstance(algorithms, list) and not set(ALGORITHMS) & set(map(str, algorithms)):
        yield bad(
            f"{issuer} signs in ways that we don't take: {', '.join(map(str, algorithms))[:200]}.",
            f"Have it sign ID tokens with one of {', '.join(ALGORITHMS)}.",
        )
    methods = document.get("code_challenge_methods_supported")
    if isinstance(methods, list) and "S256" not in methods:
        yield note(f"{issuer} knows no PKCE with S256.", "Have it switched on: a code is worth nothing to others then.")


def _client(known: Client) -> Finding:
    """A code that was never given tells whether client and secret are taken: they are looked at first (RFC 6749, 5.2)."""
    issuer = provider().issuer
    with reaching(issuer):
        try:
            known.fetch_access_token(code="none", redirect_uri="https://localhost/", code_verifier="0" * 43)
        except OAuthError as error:
            if error.error in ("invalid_client", "unauthorized_client"):
                said = f"{issuer} refuses client {known.client_id!r} with its secret: {error.error}."
                return bad(said, f"See RELEASE_OIDC_CLIENT_ID and {SECRET_FILE}.")
    return good(f"The identity provider {issuer} answers, and takes our client id and secret")
