"""A service's signing key: the Ed25519 public key (RFC 8032) that must have signed its packages; and its signatures.

A key is 32 bytes in hex or base64, or PEM as `openssl pkey -pubout` writes it. A signature is 64 bytes, raw or in hex or base64,
over the 32 bytes of the package's SHA-256 digest (`deploys.packages.signatures`).
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

KEY_BYTES = 32
SIGNATURE_BYTES = 64


def read_public_key(text: str) -> Ed25519PublicKey:
    """Raises ValueError, saying what a key looks like."""
    text = text.strip()
    try:
        if text.startswith("-----BEGIN"):
            key = load_pem_public_key(text.encode())
        else:
            key = Ed25519PublicKey.from_public_bytes(decoded(text, KEY_BYTES) or b"")
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("a signing key is an Ed25519 public key: 32 bytes in hex or base64, or PEM")
    return key


def validate_signing_key(value: str) -> None:
    """Refuses a private key too: that is no PEM public key."""
    try:
        read_public_key(value)
    except ValueError:
        raise ValidationError(
            _(
                "is not an Ed25519 public key: write its 32 bytes in hex or base64, or PEM (“-----BEGIN PUBLIC KEY-----”)"
            ),
            code="invalid_signing_key",
        ) from None


def decoded(text: str, size: int) -> bytes | None:
    """`size` bytes out of their hex or base64 spelling; None when it is neither."""
    try:
        raw = bytes.fromhex(text) if len(text) == 2 * size else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == size else None


def verify_signature(sha256: str, *, public_key: str, signature: str | bytes) -> bool:
    """True when `signature` is the key's own over the package with this digest (hex). A wrong spelling is False.

    Raises ValueError when `public_key` is no Ed25519 key: that is an admin's mistake, not a forger's.
    """
    key = read_public_key(public_key)
    raw = raw_signature(signature)
    if raw is None:
        return False
    try:
        key.verify(raw, bytes.fromhex(sha256))
    except InvalidSignature:
        return False
    return True


def raw_signature(signature: str | bytes) -> bytes | None:
    """None when it is not spelled like one."""
    if isinstance(signature, bytes):
        if len(signature) == SIGNATURE_BYTES:
            return signature
        signature = signature.decode("ascii", "replace")
    return decoded(signature.strip(), SIGNATURE_BYTES)
