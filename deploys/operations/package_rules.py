"""What a service demands of its packages before anything is downloaded."""

from __future__ import annotations

from django.utils.translation import gettext as _

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
        detail=_("Service '%(service)s' takes only packages whose digest is said: give the package's sha256.")
        % {"service": service.name},
        attr="sha256",
    )


def _key_missing(service: Service) -> Problem:
    return Problem(
        code="signing_key_unset",
        detail=_(
            "Service '%(service)s' has no signing_key that a signature could be checked with. "
            "Have an admin set it, or leave the signature out."
        )
        % {"service": service.name},
        attr="signature",
    )
