"""Logging in to a node over SSH: a key only, the inventory's host key only, no file of the user's read."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import lru_cache
from pathlib import Path

import asyncssh

from inventory.nodes.transports.base import HostKeyMismatch, NodeAddress, NodeUnreachable, shown
from inventory.nodes.transports.ssh_dial import dial

CONNECT_SECONDS = 10
LOGIN_SECONDS = 10
DIALS_AT_ONCE = 200
HANDSHAKES_AT_ONCE = 32
# One that a node answers takes some hundredths of a second.
HANDSHAKE_SECONDS = 2.0
KEEPALIVE_SECONDS = 15
KEEPALIVE_MISSES = 3

# The cheapest first; see docs/performance.md for what each costs. The rest is for nodes that offer no better.
KEX = (
    "ecdh-sha2-nistp256", "curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp384",
    "diffie-hellman-group14-sha256", "diffie-hellman-group16-sha512", "diffie-hellman-group-exchange-sha256",
)  # fmt: skip
CIPHERS = (
    "aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-ctr", "aes256-ctr",
)  # fmt: skip
MACS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
HOST_KEYS = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256",
)  # fmt: skip


class Gates:
    """How many connections of one event loop are made at once.

    Waiting for a node to answer costs nothing, so that many nodes that never do hold up no other. The handshakes cost
    computing on both sides.
    """

    def __init__(self) -> None:
        self.dialing = asyncio.Semaphore(DIALS_AT_ONCE)
        self._handshaking = asyncio.Semaphore(HANDSHAKES_AT_ONCE)

    @asynccontextmanager
    async def handshaking(self) -> AsyncIterator[None]:
        """A turn for a short time at most: whoever takes longer waits for the node, and keeps no other waiting."""
        await self._handshaking.acquire()
        leaving = ExitStack()
        leaving.callback(self._handshaking.release)
        timer = asyncio.get_running_loop().call_later(HANDSHAKE_SECONDS, leaving.close)
        try:
            yield
        finally:
            timer.cancel()
            leaving.close()


async def log_in(address: NodeAddress, *, key_file: str, gates: Gates) -> asyncssh.SSHClientConnection:
    """A live connection to the node. key_file: a private key's path, '' for the ssh agent.

    Raises HostKeyMismatch before anything of ours is sent, and NodeUnreachable for everything else.
    """
    where = f"{address.ssh_user}@{address.host}:{address.ssh_port}"
    expected = _host_key(address)
    client = _Client(expected)
    try:
        async with gates.dialing, asyncio.timeout(CONNECT_SECONDS):
            connection = await dial(address.host, address.ssh_port)
        try:
            async with gates.handshaking(), asyncio.timeout(LOGIN_SECONDS), _login_keys(key_file) as keys:
                return await _handshake(address, connection, client=client, expected=expected, keys=keys)
        except BaseException:
            connection.close()
            raise
    except TimeoutError:
        raise NodeUnreachable(f"{where} does not answer: no login within {LOGIN_SECONDS} s") from None
    except asyncssh.PermissionDenied as error:
        raise NodeUnreachable(f"{where} refuses the login ({shown(error.reason)}); is our public key there?") from error
    except asyncssh.HostKeyNotVerifiable as error:
        raise HostKeyMismatch(_mismatch(where, expected=expected, received=client.received)) from error
    except (OSError, asyncssh.Error, ValueError) as error:
        raise NodeUnreachable(f"{where} can't be reached: {shown(str(error))}") from error


async def _handshake(
    address: NodeAddress,
    connection: socket.socket,
    *,
    client: _Client,
    expected: asyncssh.SSHKey,
    keys: Sequence[asyncssh.SSHKeyPair],
) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        address.host,
        address.ssh_port,
        sock=connection,
        username=address.ssh_user,
        client_factory=lambda: client,
        client_keys=keys,
        agent_path=None,
        config=None,
        known_hosts=([expected], [], []),
        server_host_key_algs=_host_key_order(expected),
        x509_trusted_certs=None,
        kex_algs=KEX,
        encryption_algs=CIPHERS,
        mac_algs=MACS,
        compression_algs=("none",),
        preferred_auth="publickey",
        password=None,
        gss_host=None,
        agent_forwarding=False,
        connect_timeout=CONNECT_SECONDS,
        login_timeout=LOGIN_SECONDS,
        keepalive_interval=KEEPALIVE_SECONDS,
        keepalive_count_max=KEEPALIVE_MISSES,
    )


class _Client(asyncssh.SSHClient):
    """Remembers the key that the server showed, so that a refusal can name it."""

    def __init__(self, expected: asyncssh.SSHKey) -> None:
        self.received: asyncssh.SSHKey | None = None
        self._expected = expected

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked only about a key that is not the expected one."""
        self.received = key
        return False


def _host_key(address: NodeAddress) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(address.ssh_host_key)
    except asyncssh.KeyImportError as error:
        raise HostKeyMismatch(
            f"node {address.name} has no usable ssh_host_key ({error}); "
            f"put the line of `ssh-keyscan {address.host}` without the host's name into the inventory"
        ) from error


def _host_key_order(expected: asyncssh.SSHKey) -> list[str]:
    """The expected kind first, then every other: a server that lost its key still shows us which one it has."""
    ours = [name.decode() for name in expected.sig_algorithms if name.decode() in HOST_KEYS]
    return ours + [name for name in HOST_KEYS if name not in ours]


def _mismatch(where: str, *, expected: asyncssh.SSHKey, received: asyncssh.SSHKey | None) -> str:
    shown = f"{received.get_algorithm()} {received.get_fingerprint()}" if received else "an unreadable host key"
    return (
        f"{where} shows {shown}, but the inventory expects {expected.get_algorithm()} {expected.get_fingerprint()}; "
        "nothing was sent. If the node was rightly rebuilt, change its ssh_host_key"
    )


@asynccontextmanager
async def _login_keys(key_file: str) -> AsyncIterator[Sequence[asyncssh.SSHKeyPair]]:
    if key_file:
        yield _keys(key_file, Path(key_file).stat().st_mtime_ns)
        return
    path = os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise NodeUnreachable("no key to log in with: set RELEASE_SSH_KEY_FILE, or start the worker with an ssh agent")
    async with asyncssh.connect_agent(path) as agent:
        yield await agent.get_keys()


@lru_cache(maxsize=4)
def _keys(key_file: str, _modified_ns: int) -> Sequence[asyncssh.SSHKeyPair]:
    return list(asyncssh.load_keypairs([key_file]))
