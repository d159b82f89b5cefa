"""Get an operation's package, once a host, and pin its version to its bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import transaction
from filelock import FileLock

from deploys.error_codes import ErrorCode
from deploys.models import Operation, Package
from deploys.packages import fetch, store
from deploys.packages.errors import PackageError
from deploys.packages.store import Artifact
from inventory.models import Service
from inventory.releases import release_of


def package_for(
    operation_id: int, *, should_stop: Callable[[], bool], on_note: Callable[[str], None]
) -> tuple[Package, Artifact]:
    """The operation's pinned package and its artifact in this host's store.

    A rollback takes what the store has. A deploy downloads even a version that is known, since other bytes under it
    must be refused; its package is set by that download, so the host's other workers, which wait for it, find it in
    the store. Raises PackageError; a refusal is kept on the operation, so that no one asks again.
    """
    with FileLock(_lock_file(operation_id)):
        operation = Operation.objects.select_related("package", "service").get(pk=operation_id)
        if operation.package_error_code:
            raise PackageError(ErrorCode(operation.package_error_code), operation.package_error_message)
        found = _from_store(operation)
        if found is not None:
            return found
        try:
            return _download(operation, should_stop=should_stop, on_note=on_note)
        except PackageError as error:
            if not should_stop():
                _remember_refusal(operation, error)
            raise


def _lock_file(operation_id: int) -> Path:
    folder = Path(settings.DATA_DIR) / "packages" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    # A fixed number of files: two operations that share one merely wait for each other.
    return folder / f"{operation_id % 64}.lock"


def _from_store(operation: Operation) -> tuple[Package, Artifact] | None:
    if operation.package is None:
        return None
    artifact = store.stored(operation.package.sha256)
    return None if artifact is None else (operation.package, artifact)


def _download(
    operation: Operation, *, should_stop: Callable[[], bool], on_note: Callable[[str], None]
) -> tuple[Package, Artifact]:
    known = operation.package
    url = operation.package_url or (known.url if known else "")
    artifact = fetch.fetch(
        url,
        expected_sha256=_expected_sha256(operation),
        signing_key=operation.service.signing_key,
        signature=operation.signature or (known.signature if known else ""),
        should_stop=should_stop,
        on_note=on_note,
    )
    return pin(operation, artifact, url), artifact


def _expected_sha256(operation: Operation) -> str:
    """Where a digest must be said, a rollback means the bytes that are pinned, and no others."""
    if operation.requested_sha256 or operation.package is None or not operation.service.require_sha256:
        return operation.requested_sha256
    return operation.package.sha256


def pin(operation: Operation, artifact: Artifact, url: str) -> Package:
    """Tie the operation's version to these bytes, or raise PackageError `package_digest_conflict`.

    Further bytes of a mutable version get a release folder of their own.
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
                signature=operation.signature,
            )
        Operation.objects.filter(pk=operation.pk).update(package=package)
    return package


def _conflict(operation: Operation, artifact: Artifact, pinned_sha256: str) -> PackageError:
    return PackageError(
        ErrorCode.PACKAGE_DIGEST_CONFLICT,
        f"Version '{operation.version}' of '{operation.service.name}' is pinned to sha256 {pinned_sha256}, but the "
        f"package has {artifact.sha256}. Release these bytes under a new version, or allow mutable_versions.",
    )


def _remember_refusal(operation: Operation, error: PackageError) -> None:
    Operation.objects.filter(pk=operation.pk).update(package_error_code=error.code, package_error_message=error.message)
