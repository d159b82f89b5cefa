"""What a service demands of its packages before anything is downloaded."""

from __future__ import annotations

from inventory.errors import Problem
from inventory.models import Service


def package_problems(service: Service, *, sha256: str, signature: str) -> list[Problem]:
    """`sha256_required`, `signing_key_unset`: nobody shall think a signature was looked at."""
    problems = []
    if service.require_sha256 and not sha256:
        problems.append(_digest_missing(service))
    if signature and not service.signing_key:
        problems.append(_key_missing(service))
    return problems


def _digest_missing(service: Service) -> Problem:
    return Problem(
        code="sha256_required",
        detail=f"Service '{service.name}' takes only packages whose digest is said: give the package's sha256.",
        attr="sha256",
    )


def _key_missing(service: Service) -> Problem:
    return Problem(
        code="signing_key_unset",
        detail=f"Service '{service.name}' has no signing_key that a signature could be checked with. "
        "Have an admin set it, or leave the signature out.",
        attr="signature",
    )
