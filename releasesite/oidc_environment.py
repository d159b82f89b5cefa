"""The identity provider that people log in by, as `RELEASE_OIDC_*` say. Without an issuer there is none, and nothing of it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from environs import Env, ValidationError

from deploys.packages.proxy import Proxy
from inventory.security.redaction import SHORTEST_SECRET
from releasesite import environment_values as values

ISSUER = "RELEASE_OIDC_ISSUER"
GROUPS_OF_ROLE = {
    "viewer": "RELEASE_OIDC_VIEWER_GROUPS",
    "operator": "RELEASE_OIDC_OPERATOR_GROUPS",
    "admin": "RELEASE_OIDC_ADMIN_GROUPS",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class OidcProvider:
    """name: what people know it by. roles: each with the provider's groups that give it. services_claim, ca_file, proxy:
    '' for none; a proxy's URL may hold its password."""

    issuer: str
    name: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: str
    groups_claim: str
    roles: tuple[tuple[str, frozenset[str]], ...]
    services_claim: str
    ca_file: str
    proxy: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may be read nowhere."""
        return (self.client_secret, *(Proxy.parse(self.proxy).secrets if self.proxy else ()))

    def roles_of(self, groups: frozenset[str]) -> frozenset[str]:
        return frozenset(role for role, giving in self.roles if giving & groups)


def read(env: Env) -> OidcProvider | None:
    """None without an issuer, or when one of the variables is wrong, which `seal` tells then."""
    issuer = values.parsed(env, ISSUER, _issuer)
    roles = tuple((role, frozenset(values.items(env, name, str))) for role, name in GROUPS_OF_ROLE.items())
    provider = OidcProvider(
        issuer=issuer or "",
        name=env.str("RELEASE_OIDC_NAME", "") or urlsplit(issuer or "").hostname or "",
        client_id=_needed(env, "RELEASE_OIDC_CLIENT_ID", str),
        client_secret=_needed(env, "RELEASE_OIDC_CLIENT_SECRET_FILE", _secret),
        scopes=env.str("RELEASE_OIDC_SCOPES", "profile email"),
        groups_claim=env.str("RELEASE_OIDC_GROUPS_CLAIM", "groups"),
        roles=roles,
        services_claim=env.str("RELEASE_OIDC_SERVICES_CLAIM", ""),
        ca_file=values.parsed(env, "RELEASE_OIDC_CA_FILE", _ca_file) or "",
        proxy=values.parsed(env, "RELEASE_OIDC_PROXY", _proxy) or "",
    )
    if issuer and not any(groups for _role, groups in roles):
        first, *others = GROUPS_OF_ROLE.values()
        _refuse(env, first, f"or {' or '.join(others)} is needed with {ISSUER}: no group gives a role")
    return provider if issuer else None


def _needed(env: Env, name: str, parse: Callable[[str], str]) -> str:
    """Refused when an issuer is set and this is not."""
    if os.environ.get(ISSUER, "").strip() and env.str(name, None) is None:
        _refuse(env, name, f"is needed with {ISSUER}")
        return ""
    return values.parsed(env, name, parse) or ""


def _refuse(env: Env, name: str, problem: str) -> None:
    def refused(_value: str) -> str:
        raise ValidationError(problem)

    env.add_parser(f"{name.lower()}_refused", refused)
    getattr(env, f"{name.lower()}_refused")(name, "-")


def _issuer(value: str) -> str:
    parts = urlsplit(value)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if is_safe and parts.hostname and "@" not in parts.netloc and not parts.query and not parts.fragment:
        return value
    raise ValidationError("must look like https://login.example.com/realms/company, as the provider itself writes it")


def _secret(value: str) -> str:
    try:
        secret = Path(value).expanduser().read_text().strip()
    except OSError as error:
        raise ValidationError(f"names a file that cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValidationError("names a file that is not UTF-8 text") from None
    if len(secret) < SHORTEST_SECRET:
        raise ValidationError(f"names a file with less than {SHORTEST_SECRET} characters, too short to be masked")
    return secret


def _ca_file(value: str) -> str:
    try:
        ssl.create_default_context(cafile=value)
    except OSError as error:  # SSLError is one
        raise ValidationError(
            f"names a file that cannot be used: {error.strerror or 'it has no certificate'}"
        ) from None
    return value


def _proxy(value: str) -> str:
    try:
        Proxy.parse(value)
    except ValueError:
        raise ValidationError("must look like http://proxy.example.com:3128, or http://user:password@…") from None
    return value
