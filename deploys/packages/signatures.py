"""Detached signatures of packages: Ed25519 (RFC 8032) over the 32 bytes of the package's SHA-256 digest.

Signing the digest instead of the file is what minisign's "prehashed" mode and sigstore's blobs do: the package is
streamed once, and never held in memory. With OpenSSL 3 a build makes `<package>.sig` like this:

    openssl dgst -sha256 -binary package.tar.gz > digest
    openssl pkeyutl -sign -rawin -inkey key.pem -in digest | base64 -w0 > package.tar.gz.sig

A signature is 64 bytes, raw or in hex or base64; for keys see `inventory.signing_keys`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature

from inventory.signing_keys import decoded, read_public_key

SIGNATURE_BYTES = 64
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


def is_signature(text: str) -> bool:
    """Spelled like one; whose it is, and of what, is for `verify_signature`."""
    return decoded(text, SIGNATURE_BYTES) is not None


def _raw_signature(signature: str | bytes) -> bytes | None:
    if isinstance(signature, bytes):
        if len(signature) == SIGNATURE_BYTES:
            return signature
        signature = signature.decode("ascii", "replace")
    return decoded(signature.strip(), SIGNATURE_BYTES)


def signature_url(url: str) -> str:
    """Where the signature lies beside the package: `.sig` behind the path, with the same query."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path}.sig", fragment="").geturl()
