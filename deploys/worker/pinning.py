"""An operation's package: what it asks for, and its version pinned to the bytes that came. Short queries, and no waiting."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from django.db import transaction

from deploys.error_codes import ErrorCode
from deploys.models import Operation, Package
from deploys.packages import store
from deploys.packages.errors import PackageError
from deploys.packages.store import Artifact
from deploys.told import Told, read, stored
from deploys.told import marked as _
from inventory.models import Service
from inventory.releases import release_of
from inventory.signing_keys import verify_signature


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `deploys.packages.fetch.fetch` is asked for."""

    url: str
    expected_sha256: str
    signing_key: str
    signature: str
    zip_names: str

    @property
    def host(self) -> str:
        """With its port; the one that the URL names, wherever it redirects to."""
        return urlsplit(self.url).netloc.rpartition("@")[2].lower()


def operation_to_fetch_for(operation_id: int) -> Operation:
    """Raises PackageError when the package has been refused already, so that no one asks its host again."""
    operation = Operation.objects.select_related("package", "service").get(pk=operation_id)
    if operation.package_error_code:
        told = read(operation.package_error_told, operation.package_error_message)
        raise PackageError(ErrorCode(operation.package_error_code), *told)
    return operation


def has_newer_link(operation: Operation) -> bool:
    """The request has come again meanwhile, with a link that was signed anew."""
    return Operation.objects.filter(pk=operation.pk).exclude(package_url=operation.package_url).exists()


def from_store(operation: Operation) -> tuple[Package, Artifact] | None:
    """A rollback takes what the store has; so does a deploy whose package another worker process of this host has got."""
    if operation.package is None:
        return None
    artifact = store.stored(operation.package.sha256)
    return None if artifact is None else (operation.package, artifact)


def wanted(operation: Operation) -> Wanted:
    """A deploy asks the host even for a version that is known, since other bytes under it must be refused."""
    known = operation.package
    return Wanted(
        url=operation.package_url or (known.url if known else ""),
        expected_sha256=_expected_sha256(operation),
        signing_key=operation.service.signing_key,
        signature=operation.signature or _known_signature(operation.service, known),
        zip_names=operation.service.zip_names,
    )


def _known_signature(service: Service, package: Package | None) -> str:
    """Of the present key: after a change of keys the one beside the package may be another."""
    if package is None or not package.signature or not service.signing_key:
        return ""
    is_present = verify_signature(package.sha256, public_key=service.signing_key, signature=package.signature)
    return package.signature if is_present else ""


def _expected_sha256(operation: Operation) -> str:
    """Where a digest must be said, a rollback means the bytes that are pinned, and no others."""
    if operation.requested_sha256 or operation.package is None or not operation.service.require_sha256:
        return operation.requested_sha256
    return operation.package.sha256


def pin(operation: Operation, artifact: Artifact, url: str, *, signature: str) -> Package:
    """Tie the operation's version to these bytes, or raise PackageError `package_digest_conflict`.

    signature: the one that has proven genuine, '' where none is asked for; kept for a deploy that asks no host. Further bytes
    of a mutable version get a release folder of their own.
    """
    with transaction.atomic():
        service = Service.objects.select_for_update(no_key=True).get(pk=operation.service_id)
        pinned = list(Package.objects.filter(service=service, version=operation.version))
        package = next((each for each in pinned if each.sha256 == artifact.sha256), None)
        if package is None:
            if pinned and not service.mutable_versions:
                raise _conflict(operation, artifact, pinned[0].sha256)
            package = Package.objects.create(
                service=service,
                version=operation.version,
                sha256=artifact.sha256,
                release=release_of(operation.version, artifact.sha256, is_first=not pinned),
                size_bytes=artifact.size_bytes,
                url=url,
                signature=signature,
            )
        else:
            _learn(package, url=url if operation.package_url else "", signature=signature)
        Operation.objects.filter(pk=operation.pk).update(package=package)
    return package


def _learn(package: Package, *, url: str, signature: str) -> None:
    """What worked last: a later download needs a link that has not expired, and the present key's signature."""
    known = (("url", url), ("signature", signature))
    newer = {name: value for name, value in known if value and value != getattr(package, name)}
    if newer:
        Package.objects.filter(pk=package.pk).update(**newer)


def _conflict(operation: Operation, artifact: Artifact, pinned_sha256: str) -> PackageError:
    return PackageError(
        ErrorCode.PACKAGE_DIGEST_CONFLICT,
        Told(
            _(
                "Version '%(version)s' of '%(service)s' is pinned to sha256 %(pinned)s, but the package has %(sha256)s. "
                "Release these bytes under a new version, or allow mutable_versions."
            ),
            {
                "version": operation.version,
                "service": operation.service.name,
                "pinned": pinned_sha256,
                "sha256": artifact.sha256,
            },
        ),
    )


def remember_refusal(operation: Operation, error: PackageError) -> None:
    """Until the operation is retried, or has a newer link: a host that was asked once for all nodes is not asked for each."""
    asked_by_this_link = Operation.objects.filter(pk=operation.pk, package_url=operation.package_url)
    message, told = stored(error.told)
    asked_by_this_link.update(package_error_code=error.code, package_error_message=message, package_error_told=told)
