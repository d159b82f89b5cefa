"""What a service demands of its packages before anything is downloaded."""

from __future__ import annotations

from inventory.errors import InvalidRequest
from inventory.models import Service


def check_package_rules(service: Service, *, sha256: str, signature: str) -> None:
    """Raises InvalidRequest `sha256_required`, `signing_key_unset`: nobody shall think a signature was looked at."""
    if service.require_sha256 and not sha256:
        raise InvalidRequest(
            f"Service '{service.name}' takes only packages whose digest is said: give the package's sha256.",
            code="sha256_required",
            attr="sha256",
        )
    if signature and not service.signing_key:
        raise InvalidRequest(
            f"Service '{service.name}' has no signing_key that a signature could be checked with. "
            "Have an admin set it, or leave the signature out.",
            code="signing_key_unset",
            attr="signature",
        )
