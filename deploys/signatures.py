"""Detached signatures of packages: Ed25519 (RFC 8032) over the 32 bytes of the package's SHA-256 digest.

Signing the digest instead of the file is what minisign's "prehashed" mode and sigstore's blobs do: the package is
streamed once, and never held in memory. With OpenSSL 3 a build makes `<package>.sig` like this:

    openssl dgst -sha256 -binary package.tar.gz > digest
    openssl pkeyutl -sign -rawin -inkey key.pem -in digest | base64 -w0 > package.tar.gz.sig

A key is 32 bytes in hex or base64, or a PEM public key; a signature 64 bytes, raw or in hex or base64.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SIGNATURE_BYTES = 64
KEY_BYTES = 32
# More than any spelling of a signature; what a `.sig` file may weigh.
SIGNATURE_FILE_BYTES = 4096


def verify_signature(sha256: str, *, public_key: str, signature: str | bytes) -> bool:
    """True when `signature` is the key's own over the package with this digest (hex). A wrong spelling is False.

    Raises ValueError when `public_key` is no Ed25519 key: that is an admin's mistake, not a forger's.
    """
    key = read_public_key(public_key)
    raw = _raw_signature(signature)
    if raw is None:
        return False
    try:
        key.verify(raw, bytes.fromhex(sha256))
    except InvalidSignature:
        return False
    return True


def read_public_key(text: str) -> Ed25519PublicKey:
    """Raises ValueError, saying what a key looks like."""
    text = text.strip()
    try:
        if text.startswith("-----BEGIN"):
            key = load_pem_public_key(text.encode())
        else:
            key = Ed25519PublicKey.from_public_bytes(_decoded(text, KEY_BYTES) or b"")
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("a signing key is an Ed25519 public key: 32 bytes in hex or base64, or PEM")
    return key


def _raw_signature(signature: str | bytes) -> bytes | None:
    if isinstance(signature, bytes):
        if len(signature) == SIGNATURE_BYTES:
            return signature
        signature = signature.decode("ascii", "replace")
    return _decoded(signature.strip(), SIGNATURE_BYTES)


def _decoded(text: str, size: int) -> bytes | None:
    """`size` bytes out of their hex or base64 spelling; None when it is neither."""
    try:
        raw = bytes.fromhex(text) if len(text) == 2 * size else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == size else None


def signature_url(url: str) -> str:
    """Where the signature lies beside the package: `.sig` behind the path, with the same query."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path}.sig", fragment="").geturl()
