"""A service's signing key: the Ed25519 public key (RFC 8032) that must have signed its packages.

32 bytes in hex or base64, or PEM as `openssl pkey -pubout` writes it.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

KEY_BYTES = 32


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
