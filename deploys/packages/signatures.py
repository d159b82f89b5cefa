"""Detached signatures of packages: Ed25519 (RFC 8032) over the 32 bytes of the package's SHA-256 digest.

Signing the digest instead of the file is what minisign's "prehashed" mode and sigstore's blobs do: the package is
streamed once, and never held in memory. With OpenSSL 3 a build makes `<package>.sig` like this:

    openssl dgst -sha256 -binary package.tar.gz > digest
    openssl pkeyutl -sign -rawin -inkey key.pem -in digest | base64 -w0 > package.tar.gz.sig

For keys, and how they are verified, see `inventory.signing_keys`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from inventory.signing_keys import SIGNATURE_BYTES, decoded

# More than any spelling of a signature; what a `.sig` file may weigh.
SIGNATURE_FILE_BYTES = 4096


def is_signature(text: str) -> bool:
    """Spelled like one; whose it is, and of what, is for `signing_keys.verify_signature`."""
    return decoded(text, SIGNATURE_BYTES) is not None


def signature_url(url: str) -> str:
    """Where the signature lies beside the package: `.sig` behind the path, with the same query."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path}.sig", fragment="").geturl()
