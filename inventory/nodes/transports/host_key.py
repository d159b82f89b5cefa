"""What a server must show before anything is sent to it: one key, or a certificate of one authority."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import asyncssh

from inventory.validation import CERT_AUTHORITY, is_authority

# The cheapest first; see docs/performance.md for what each costs. The rest is for servers that offer no better.
HOST_KEYS = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256",
)  # fmt: skip
_CERTIFICATES = tuple(f"{name}-cert-v01@openssh.com" for name in HOST_KEYS)

Trusted = tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]


@dataclass(frozen=True, kw_only=True)
class ExpectedKey:
    """is_authority: `key` signs the certificates of servers, for the names under which they are reached."""

    key: asyncssh.SSHKey
    is_authority: bool

    @classmethod
    def of(cls, line: str) -> Self:
        """line: `[@cert-authority ]ssh-ed25519 AAAA…`. Raises asyncssh.KeyImportError."""
        key = asyncssh.import_public_key(line.removeprefix(CERT_AUTHORITY).lstrip())
        return cls(key=key, is_authority=is_authority(line))

    def __str__(self) -> str:
        shown = fingerprint(self.key)
        return f"a certificate by {shown}" if self.is_authority else shown

    @property
    def trusted(self) -> Trusted:
        """Keys, authorities and revoked keys, as asyncssh wants known hosts."""
        return ([], [self.key], []) if self.is_authority else ([self.key], [], [])

    @property
    def algorithms(self) -> list[str]:
        """The expected kind first, then every other: a server that lost its key still shows us which one it has."""
        if self.is_authority:
            return [*_CERTIFICATES, *HOST_KEYS]
        ours = [name.decode() for name in self.key.sig_algorithms if name.decode() in HOST_KEYS]
        return ours + [name for name in HOST_KEYS if name not in ours]


def fingerprint(key: asyncssh.SSHKey) -> str:
    return f"{key.get_algorithm()} {key.get_fingerprint()}"
