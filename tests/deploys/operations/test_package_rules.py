"""A service may insist on a digest, and on a signature by its own key; on a real package host and a real node."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from django.core.exceptions import ValidationError
from pytest_django.fixtures import Settings

from deploys.models import Operation, Package
from deploys.operations.retry import retry_operation
from deploys.packages.store import PackageStore
from deploys.states import Kind
from inventory.errors import InvalidRequest
from inventory.models import Instance, Service
from rollbacks.services import InstanceRollbackRequest, start_instance_rollback
from tests.support.api import caller
from tests.support.fleet import SCHEDULER, make_instances, make_node, make_service
from tests.support.package_builder import package, sha256
from tests.support.package_host import PackageHost

pytestmark = pytest.mark.django_db(transaction=True)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
RAW_PUBLIC_KEY = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
SIGNING_KEY = base64.b64encode(RAW_PUBLIC_KEY).decode()
CONTENT = package({"app.py": "print('v1')\n"})
TAMPERED = package({"app.py": "print('not what was built')\n"})
Execute = Callable[..., Any]
End = Callable[[Any], tuple[str, str, str]]


def signature(content: bytes, key: Ed25519PrivateKey = KEY) -> str:
    return key.sign(bytes.fromhex(sha256(content))).hex()


@pytest.fixture
def service(settings: Settings, package_host: PackageHost, tmp_path: Path) -> Service:
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    settings.DATA_DIR = tmp_path / "data"
    return make_service()


@pytest.fixture
def instance(service: Service, tmp_path: Path) -> Instance:
    return make_instances(service, make_node(), count=1, root=tmp_path)[0]


@pytest.fixture
def execute(instance: Instance, package_host: PackageHost) -> Execute:
    """POST a deploy of v1; keys given replace the request's."""

    def post(content: bytes = CONTENT, **keys: str) -> Any:
        body = {
            "service": "user-service",
            "version": "v1",
            "instances": ["instance-1"],
            "package_url": package_host.add("v1.tar.gz", content),
            **keys,
        }
        return caller("deploy").post("/v1/deploy/execute", body)

    return post


@pytest.fixture
def end(instance: Instance, run_work_loop: Callable[[str], None]) -> End:
    """Let the accepted deploy run: (operation status, error code, what `current` leads to)."""

    def wait(answer: Any) -> tuple[str, str, str]:
        assert answer.status_code == 202, answer.content
        run_work_loop("deploys")
        operation = Operation.objects.get(public_id=answer.json()["deploy_id"])
        return operation.status, operation.targets.latest("pk").error_code, current(instance)

    return wait


def current(instance: Instance) -> str:
    link = Path(instance.deploy_root, "current")
    return os.readlink(link) if link.is_symlink() else ""


def refused(answer: Any) -> tuple[int, str, str]:
    error = answer.json()["errors"][0]
    return answer.status_code, error["code"], error["attr"]


INSTALLED = ("completed", "", "releases/v1")
REFUSED = ("failed", "package_signature_invalid", "")


def test_a_service_that_wants_a_digest_refuses_a_deploy_without(service: Service, execute: Execute, end: End) -> None:
    Service.objects.update(require_sha256=True)

    assert refused(execute()) == (400, "sha256_required", "sha256")
    assert not Operation.objects.exists()
    assert end(execute(sha256=sha256(CONTENT))) == INSTALLED


def test_a_digest_wanted_later_does_not_spoil_a_repeated_request(service: Service, execute: Execute) -> None:
    assert execute(deploy_id="d-1").status_code == 202
    Service.objects.update(require_sha256=True)

    assert execute(deploy_id="d-1").status_code == 202


def test_a_rollback_is_no_way_around_the_digest(
    service: Service, instance: Instance, package_host: PackageHost
) -> None:
    Service.objects.update(require_sha256=True)
    request = InstanceRollbackRequest(
        instance_id="instance-1", target_version="never-seen", package_url=package_host.add("x.tar.gz", CONTENT)
    )

    with pytest.raises(InvalidRequest) as raised:
        start_instance_rollback(access=SCHEDULER, request=request)

    assert raised.value.code == "sha256_required"
    assert not Operation.objects.exists()


def test_a_rollback_of_a_mutable_version_takes_the_pinned_bytes_alone(
    service: Service, instance: Instance, package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    Service.objects.update(require_sha256=True, mutable_versions=True)
    url = package_host.add("v1.tar.gz", TAMPERED)
    Package.objects.create(service=service, version="v1", sha256=sha256(CONTENT), release="v1", size_bytes=1, url=url)
    request = InstanceRollbackRequest(instance_id="instance-1", target_version="v1", package_url=url)

    rollback = start_instance_rollback(access=SCHEDULER, request=request)
    run_work_loop("rollbacks")

    assert rollback.targets.get().error_code == "package_checksum_mismatch"
    assert current(instance) == ""


@pytest.mark.parametrize("spelling", ["hex", "base64"])
def test_a_package_signed_in_the_request_is_installed(
    service: Service, execute: Execute, end: End, spelling: str
) -> None:
    Service.objects.update(signing_key=SIGNING_KEY)
    signed = signature(CONTENT)
    signed = signed if spelling == "hex" else base64.b64encode(bytes.fromhex(signed)).decode()

    assert end(execute(signature=signed)) == INSTALLED


def test_a_package_signed_beside_it_is_installed(
    service: Service, execute: Execute, end: End, package_host: PackageHost
) -> None:
    Service.objects.update(signing_key=SIGNING_KEY)
    package_host.add("v1.tar.gz.sig", bytes.fromhex(signature(CONTENT)))

    assert end(execute()) == INSTALLED


def test_a_signature_made_with_openssl_is_taken(service: Service, execute: Execute, end: End, tmp_path: Path) -> None:
    """As the documentation tells builds to."""
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "package").write_bytes(CONTENT)
    sign = (
        "openssl dgst -sha256 -binary package >digest &&"
        " openssl pkeyutl -sign -rawin -inkey key.pem -in digest | base64 -w0"
    )
    signed = subprocess.run(sign, shell=True, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    public = subprocess.run(
        ("openssl", "pkey", "-in", "key.pem", "-pubout"), cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    Service.objects.update(signing_key=public)

    assert end(execute(signature=signed)) == INSTALLED


@pytest.mark.parametrize(
    "signed",
    [signature(TAMPERED), signature(CONTENT, OTHER_KEY), "00" * 64],
    ids=["of other bytes", "by another key", "made up"],
)
def test_a_wrong_signature_installs_nothing(service: Service, execute: Execute, end: End, signed: str) -> None:
    Service.objects.update(signing_key=SIGNING_KEY)

    assert end(execute(signature=signed)) == REFUSED
    assert not Package.objects.exists()


@pytest.mark.parametrize("beside", [b"", b"nonsense", bytes(64), b"x" * 5000])
def test_what_lies_beside_the_package_must_be_its_signature(
    service: Service, execute: Execute, end: End, package_host: PackageHost, beside: bytes
) -> None:
    Service.objects.update(signing_key=SIGNING_KEY)
    package_host.add("v1.tar.gz.sig", beside)

    assert end(execute()) == REFUSED


def test_without_any_signature_nothing_is_installed(
    service: Service, execute: Execute, end: End, package_host: PackageHost
) -> None:
    Service.objects.update(signing_key=SIGNING_KEY)

    assert end(execute()) == ("failed", "package_unreachable", "")
    assert not package_host.requests_for("v1.tar.gz"), "it was downloaded all the same"


def test_bytes_that_another_service_brought_into_the_store_need_the_signature_too(
    service: Service, execute: Execute, end: End
) -> None:
    assert end(execute()) == INSTALLED
    Service.objects.update(signing_key=SIGNING_KEY)

    again = execute(version="v2", sha256=sha256(CONTENT), signature=signature(CONTENT, OTHER_KEY))

    assert end(again) == ("failed", "package_signature_invalid", "releases/v1")


def test_a_rollback_that_must_download_again_uses_the_signature_of_the_deploy(
    service: Service, instance: Instance, execute: Execute, end: End, run_work_loop: Callable[[str], None]
) -> None:
    Service.objects.update(signing_key=SIGNING_KEY)
    assert end(execute(signature=signature(CONTENT))) == INSTALLED
    forget_everywhere(instance)
    Instance.objects.update(running_version="v2", running_release="v2")
    request = InstanceRollbackRequest(instance_id="instance-1", target_version="v1")

    rollback = start_instance_rollback(access=SCHEDULER, request=request)
    run_work_loop("rollbacks")

    target = rollback.targets.get()
    assert (target.status, target.error_message, target.source) == ("completed", "", "download")


def test_a_rollback_to_unsigned_bytes_is_refused(
    service: Service, instance: Instance, package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    Service.objects.update(signing_key=SIGNING_KEY)
    url = package_host.add("v0.tar.gz", TAMPERED)
    package_host.add("v0.tar.gz.sig", bytes.fromhex(signature(TAMPERED, OTHER_KEY)))
    request = InstanceRollbackRequest(instance_id="instance-1", target_version="v0", package_url=url)

    rollback = start_instance_rollback(access=SCHEDULER, request=request)
    run_work_loop("rollbacks")

    assert rollback.targets.get().error_code == "package_signature_invalid"
    assert current(instance) == ""


def test_a_retry_looks_at_the_signature_again(
    service: Service, execute: Execute, end: End, package_host: PackageHost, run_work_loop: Callable[[str], None]
) -> None:
    Service.objects.update(signing_key=SIGNING_KEY)
    package_host.add("v1.tar.gz.sig", bytes(64))
    assert end(execute(deploy_id="d-1")) == REFUSED
    package_host.add("v1.tar.gz.sig", bytes.fromhex(signature(CONTENT)))

    retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id="d-1")
    run_work_loop("deploys")

    assert Operation.objects.get().status == "completed"


def test_a_signature_that_nobody_would_check_is_refused(service: Service, execute: Execute) -> None:
    assert refused(execute(signature=signature(CONTENT))) == (400, "signing_key_unset", "signature")


@pytest.mark.parametrize("signed", ["", "zz", "00" * 63, "00" * 64 + "\n", "A" * 88])
def test_what_is_no_signature_is_a_bad_request(service: Service, execute: Execute, signed: str) -> None:
    Service.objects.update(signing_key=SIGNING_KEY)

    status, _code, attr = refused(execute(signature=signed))

    assert (status, attr) == (400, "signature")


def test_the_signature_belongs_to_the_request(service: Service, execute: Execute) -> None:
    Service.objects.update(signing_key=SIGNING_KEY)
    assert execute(deploy_id="d-1", signature=signature(CONTENT)).status_code == 202

    assert execute(deploy_id="d-1", signature=signature(CONTENT)).status_code == 202
    assert refused(execute(deploy_id="d-1", signature=signature(TAMPERED)))[:2] == (409, "deploy_id_reused")


PRIVATE_PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC_PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("key", [SIGNING_KEY, RAW_PUBLIC_KEY.hex(), PUBLIC_PEM])
def test_every_spelling_of_a_public_key_is_taken(service: Service, key: str) -> None:
    service.signing_key = key
    service.full_clean()


@pytest.mark.parametrize("key", ["nonsense", "00" * 31, PRIVATE_PEM, "ssh-ed25519 AAAA"])
def test_anything_but_an_ed25519_public_key_is_refused(service: Service, key: str) -> None:
    service.signing_key = key

    with pytest.raises(ValidationError) as raised:
        service.full_clean()

    assert list(raised.value.message_dict) == ["signing_key"]
    assert key not in str(raised.value)


def forget_everywhere(instance: Instance) -> None:
    """Neither the node nor the store has the release any more."""
    subprocess.run(("rm", "-rf", f"{instance.deploy_root}/releases/v1"), check=True)
    PackageStore.of_this_host().prune(set())
    subprocess.run(("rm", "-rf", str(PackageStore.of_this_host().folder)), check=True)
