"""How the provider is asked: with deadlines, no redirects, a bounded answer, and nothing from this process's environment."""

from __future__ import annotations

import ssl
import time
from typing import Any

from authlib.integrations.requests_client import OAuth2Session
from requests import PreparedRequest, RequestException, Response

from releasesite.oidc_environment import OidcProvider

CONNECT_SECONDS, READ_SECONDS, WHOLE_SECONDS = 3.05, 5, 10
MOST_BYTES = 1024 * 1024


class TooMuch(RequestException):
    """The answer is longer, or slower, than any of a provider's."""


class ProviderSession(OAuth2Session):  # type: ignore[misc]  # authlib has no types
    """Reads an answer whole, within MOST_BYTES and WHOLE_SECONDS. A redirect would carry the client's secret elsewhere."""

    def send(self, request: PreparedRequest, **options: Any) -> Response:
        began = time.monotonic()
        options.update(stream=True, allow_redirects=False, timeout=(CONNECT_SECONDS, READ_SECONDS))
        response: Response = super().send(request, **options)
        with response:
            response._content = _whole(response, until=began + WHOLE_SECONDS)
        if response.is_redirect:
            raise TooMuch(f"{request.method} {request.url} is answered by a redirect")
        return response


def _whole(response: Response, *, until: float) -> bytes:
    content = b""
    for part in response.iter_content(16 * 1024):
        content += part
        if len(content) > MOST_BYTES or time.monotonic() > until:
            raise TooMuch(f"the answer of {response.url} takes more than {MOST_BYTES} bytes or {WHOLE_SECONDS} s")
    return content


def session_options(provider: OidcProvider) -> dict[str, Any]:
    """Authorities as for packages: the one that is named, else the system's, where SSL_CERT_FILE counts."""
    system = ssl.get_default_verify_paths()
    return {
        "verify": provider.ca_file or system.cafile or system.capath or True,
        "proxies": {"http": provider.proxy, "https": provider.proxy} if provider.proxy else {},
        "trust_env": False,
    }
