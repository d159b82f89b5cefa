"""The provider of the settings. What is in this package is imported only where there is one."""

from __future__ import annotations

from django.conf import settings

from releasesite.oidc_environment import OidcProvider


def provider() -> OidcProvider:
    if settings.OIDC is None:
        raise RuntimeError("RELEASE_OIDC_ISSUER is not set")
    return settings.OIDC
