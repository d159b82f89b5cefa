"""Certificates of our own making, and package hosts that speak TLS with them."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.package_host import PackageHost


class SecureHost(PackageHost):
    """Reached as localhost, by https."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        super().__init__(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def netloc(self) -> str:
        return f"localhost:{self.port}"

    def url(self, name: str) -> str:
        return f"https://{self.netloc}/{name}"


@contextmanager
def serving_securely(folder: Path, certificate: Path) -> Iterator[SecureHost]:
    folder.mkdir(exist_ok=True)
    host = SecureHost(folder, certificate)
    host.start()
    try:
        yield host
    finally:
        host.stop()


def self_signed(names: Sequence[str], path: Path, age_days: int = 0) -> Path:
    """A file with key and certificate: what signs it is itself, an authority that no system knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=age_days + 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(began)
        .not_valid_after(began + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path
