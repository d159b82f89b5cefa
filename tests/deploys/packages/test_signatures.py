"""A service that names a signing key runs what that key signed, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from deploys.packages import fetch, signatures
from deploys.packages.errors import PackageError
from deploys.packages.store import stored
from inventory.signing_keys import read_public_key, verify_signature
from tests.support.package_builder import package, sha256
from tests.support.package_host import PackageHost

CONTENT = package({"a": "b"})
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
RAW_KEY = PUBLIC.public_bytes(Encoding.Raw, PublicFormat.Raw)
PEM_KEY = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SIGNATURE = KEY.sign(hashlib.sha256(CONTENT).digest())
STRANGERS = Ed25519PrivateKey.from_private_bytes(bytes(32)).sign(hashlib.sha256(CONTENT).digest())


@pytest.fixture(autouse=True)
def in_the_settings(tmp_path: Path, settings: Settings, package_host: PackageHost) -> None:
    settings.DATA_DIR = tmp_path
    settings.PACKAGE_HOSTS = (package_host.netloc,)


@pytest.mark.parametrize("key", [RAW_KEY.hex(), base64.b64encode(RAW_KEY).decode(), PEM_KEY, f" {RAW_KEY.hex()}\n"])
@pytest.mark.parametrize(
    "signature", [SIGNATURE, SIGNATURE.hex(), base64.b64encode(SIGNATURE), base64.b64encode(SIGNATURE).decode() + "\n"]
)
def test_it_reads_every_spelling_of_key_and_signature(key: str, signature: str | bytes) -> None:
    assert verify_signature(sha256(CONTENT), public_key=key, signature=signature)


@pytest.mark.parametrize(
    "signature",
    [STRANGERS, SIGNATURE[:-1], SIGNATURE + b"\0", b"", "", "zz" * 64, "a", bytes(64), SIGNATURE.hex()[:-2]],
)
def test_it_takes_no_other_signature(signature: str | bytes) -> None:
    assert not verify_signature(sha256(CONTENT), public_key=RAW_KEY.hex(), signature=signature)


def test_it_takes_no_signature_of_another_package() -> None:
    assert not verify_signature(sha256(b"other"), public_key=RAW_KEY.hex(), signature=SIGNATURE)


@given(st.binary(max_size=200))
def test_no_signature_file_crashes_it(signature: bytes) -> None:
    assert not verify_signature(sha256(CONTENT), public_key=RAW_KEY.hex(), signature=signature)


@pytest.mark.parametrize(
    "key", ["", "zz", RAW_KEY.hex()[:-2], "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"]
)
def test_it_says_what_a_key_looks_like(key: str) -> None:
    with pytest.raises(ValueError, match="Ed25519 public key"):
        read_public_key(key)


def test_openssl_signs_as_the_module_says(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    (tmp_path / "key.pem").write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / "package.tar.gz").write_bytes(CONTENT)
    recipe = [line.strip() for line in (signatures.__doc__ or "").splitlines() if line.startswith("    openssl")]
    assert len(recipe) == 2
    subprocess.run(["sh", "-ec", "\n".join(recipe)], cwd=tmp_path, check=True, capture_output=True)
    signature = (tmp_path / "package.tar.gz.sig").read_bytes()
    assert verify_signature(sha256(CONTENT), public_key=PEM_KEY, signature=signature)


# Together with the download.


def test_it_fetches_a_package_with_its_signature_beside_it(package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    package_host.add("p.tar.gz.sig", base64.b64encode(SIGNATURE))
    assert fetch.fetch(f"{url}?token=x", signing_key=PEM_KEY).sha256 == sha256(CONTENT)
    assert [request.path for request in package_host.requests] == ["/p.tar.gz.sig?token=x", "/p.tar.gz?token=x"]


def test_it_fetches_a_package_with_the_requests_signature(package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    assert fetch.fetch(url, signing_key=PEM_KEY, signature=SIGNATURE.hex()).sha256 == sha256(CONTENT)
    assert len(package_host.requests) == 1


def refusal(url: str, *, expected_sha256: str = "", signature: str = "") -> PackageError:
    with pytest.raises(PackageError) as raised:
        fetch.fetch(url, signing_key=PEM_KEY, expected_sha256=expected_sha256, signature=signature)
    return raised.value


def test_it_refuses_a_package_signed_by_a_stranger_and_keeps_nothing(package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    package_host.add("p.tar.gz.sig", STRANGERS)
    error = refusal(url)
    assert error.code == "package_signature_invalid"
    assert "not signed by the service's signing key" in str(error)
    assert stored(sha256(CONTENT)) is None


def test_it_refuses_a_package_without_a_signature_before_it_downloads_it(package_host: PackageHost) -> None:
    error = refusal(package_host.add("p.tar.gz", CONTENT))
    assert error.code == "package_unreachable"
    assert "p.tar.gz.sig could not be downloaded" in str(error)
    assert package_host.requests_for("p.tar.gz") == []


def test_it_asks_a_stored_package_for_its_signature_too(package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    fetch.fetch(url)
    error = refusal(url, expected_sha256=sha256(CONTENT), signature=STRANGERS.hex())
    assert error.code == "package_signature_invalid"


def test_it_says_when_the_services_key_is_none(package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    with pytest.raises(PackageError, match="signing key can't be read") as raised:
        fetch.fetch(url, signing_key="nonsense", signature=SIGNATURE.hex())
    assert raised.value.code == "internal_error"


def test_it_reads_no_endless_signature(package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    package_host.add("p.tar.gz.sig", bytes(5000))
    assert refusal(url).code == "package_signature_invalid"
