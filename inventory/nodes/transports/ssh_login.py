"""Logging in to a node or a jump host over SSH: a key only, the inventory's host key only, no file of the user's read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from weakref import WeakValueDictionary

import asyncssh

from inventory.nodes.transports.base import HostKeyMismatch, NodeUnreachable, shown
from inventory.nodes.transports.host_key import ExpectedKey, fingerprint
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.nodes.transports.login_keys import fault_of_certificate, login_keys
from inventory.nodes.transports.login_limit import LoginLimit, TurnedAway
from inventory.nodes.transports.ssh_dial import dial
from inventory.nodes.transports.ssh_hops import Address, Hop, Hops
from inventory.nodes.transports.ssh_stream import Stream
from inventory.told import Facts, Told, verbatim
from inventory.told import marked as _

CONNECT_SECONDS = 10
LOGIN_SECONDS = 10
DIALS_AT_ONCE = 200
HANDSHAKES_AT_ONCE = 32
# One that a node answers takes some hundredths of a second.
HANDSHAKE_SECONDS = 2.0
# Of banners and debug messages on one connection; an honest server sends a handful.
MOST_MESSAGES = 200
MOST_MESSAGE_CHARACTERS = 256 * 1024
KEEPALIVE_SECONDS = 15
# Many nodes wait for a jump host that has fallen silent.
JUMP_KEEPALIVE_SECONDS = 5
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


Server = tuple[JumpAddress | None, str, int]


class Gates:
    """How many connections of one event loop are made at once.

    Waiting for a node to answer costs nothing, so that many nodes that never do hold up no other. The handshakes cost
    computing on both sides.
    """

    def __init__(self) -> None:
        self.dialing = asyncio.Semaphore(DIALS_AT_ONCE)
        self._handshaking = asyncio.Semaphore(HANDSHAKES_AT_ONCE)
        self._limits: WeakValueDictionary[Server, LoginLimit] = WeakValueDictionary()

    def limit_of(self, address: Address) -> LoginLimit:
        """Shared by all who log in to the same server, whatever the inventory calls it."""
        server = (address.jump, address.jump_socket or address.host, address.ssh_port)
        return self._limits.setdefault(server, LoginLimit())

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


class Logins:
    """To nodes and jump hosts, from one event loop. key_file: gives a private key's path, '' for the ssh agent."""

    def __init__(self, key_file: Callable[[], str]) -> None:
        self._key_file = key_file
        self._gates = Gates()
        self.hops = Hops(self.log_in)

    async def log_in(self, address: Address) -> asyncssh.SSHClientConnection:
        """A live connection. Raises HostKeyMismatch before anything of ours is sent, and NodeUnreachable for all else.

        Of jump hosts on the way: JumpHostKeyMismatch and JumpUnreachable.
        """
        where = _where(address)
        expected = _expected_key(address)
        # Who waits for a jump host holds nothing that others wait for.
        hop = await self.hops.to(address.jump) if address.jump else None
        client = _Client()
        try:
            attempt = partial(self._attempt, address, hop, client, expected)
            connection = await self._gates.limit_of(address).log_in(attempt)
            self.hops.saw(address)
            return connection
        except TimeoutError:
            text = _("%(where)s does not answer: no login within %(seconds)s s")
            raise NodeUnreachable(Told(text, {"where": where, "seconds": LOGIN_SECONDS})) from None
        except asyncssh.PermissionDenied as error:
            raise NodeUnreachable(self._refused(where, error)) from error
        except asyncssh.HostKeyNotVerifiable as error:
            raise HostKeyMismatch(_mismatch(where, expected, client.received, error)) from error
        except (OSError, asyncssh.Error, ValueError) as error:
            text = _("%(where)s can't be reached: %(said)s")
            raise NodeUnreachable(Told(text, {"where": where, "said": shown(str(error))})) from error

    async def _attempt(
        self, address: Address, hop: Hop | None, client: _Client, expected: ExpectedKey
    ) -> asyncssh.SSHClientConnection:
        connection = await self._dial(address, hop)
        try:
            async with self._gates.handshaking(), asyncio.timeout(LOGIN_SECONDS), login_keys(self._key_file()) as keys:
                return await _handshake(address, connection, client=client, expected=expected, keys=keys)
        except BaseException:
            _drop(connection)
            raise

    async def _dial(self, address: Address, hop: Hop | None) -> socket.socket | Stream:
        try:
            async with self._gates.dialing, asyncio.timeout(CONNECT_SECONDS):
                return await (self.hops.stream(hop, address) if hop else dial(address.host, address.ssh_port))
        except TurnedAway:
            raise
        except OSError as error:
            self._gates.limit_of(address).give_up(error)
            if hop is not None:
                await hop.check_alive()
            raise

    def _refused(self, where: Told, error: asyncssh.PermissionDenied) -> Told:
        facts: Facts = {"where": where, "said": shown(error.reason)}
        if fault := fault_of_certificate(self._key_file()):
            return Told(_("%(where)s refuses the login (%(said)s); %(fault)s"), {**facts, "fault": fault})
        return Told(_("%(where)s refuses the login (%(said)s); is our public key there?"), facts)


def _where(address: Address) -> Told:
    where = f"{address.ssh_user}@{address.host}:{address.ssh_port}"
    if address.jump is None:
        return verbatim(where)
    text = _("%(where)s, reached through jump host '%(jump)s',")
    return Told(text, {"where": where, "jump": address.jump.name})


def _drop(connection: socket.socket | Stream) -> None:
    if isinstance(connection, Stream):
        connection.drop()
    else:
        connection.close()


async def _handshake(
    address: Address,
    connection: socket.socket | Stream,
    *,
    client: _Client,
    expected: ExpectedKey,
    keys: Sequence[asyncssh.SSHKeyPair],
) -> asyncssh.SSHClientConnection:
    is_stream = isinstance(connection, Stream)
    return await asyncssh.connect(
        address.host,
        address.ssh_port,
        sock=None if is_stream else connection,
        tunnel=connection if is_stream else (),
        username=address.ssh_user,
        client_factory=lambda: client,
        client_keys=keys,
        agent_path=None,
        config=None,
        known_hosts=expected.trusted,
        server_host_key_algs=expected.algorithms,
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
        keepalive_interval=JUMP_KEEPALIVE_SECONDS if isinstance(address, JumpAddress) else KEEPALIVE_SECONDS,
        keepalive_count_max=KEEPALIVE_MISSES,
    )


class _Client(asyncssh.SSHClient):
    """Remembers the key that the server showed, so that a refusal can name it; hears only so many messages to people."""

    def __init__(self) -> None:
        self.received: str = ""
        self._messages, self._characters = 0, 0

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._messages, self._characters = 0, 0

    def auth_banner_received(self, msg: str, lang: str) -> None:
        self._hear(msg)

    def debug_msg_received(self, msg: str, lang: str, always_display: bool) -> None:
        self._hear(msg)

    def _hear(self, message: str) -> None:
        """Nobody is shown these, but taking them costs the time of all others on this event loop."""
        self._messages += 1
        self._characters += len(message)
        if self._messages > MOST_MESSAGES or self._characters > MOST_MESSAGE_CHARACTERS:
            raise asyncssh.ProtocolError("it sends banners or debug messages without end")

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked only about a key that is not the expected one."""
        self.received = fingerprint(key)
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Asked only about an authority that is not the expected one."""
        self.received = f"a certificate by {fingerprint(key)}"
        return False


def _expected_key(address: Address) -> ExpectedKey:
    try:
        return ExpectedKey.of(address.ssh_host_key)
    except asyncssh.KeyImportError as error:
        text = _(
            "%(name)s has no usable ssh_host_key (%(said)s); put the line of `ssh-keyscan %(host)s` without the host's name "
            "into the inventory"
        )
        facts = {"name": address.name, "said": str(error), "host": address.host}
        raise HostKeyMismatch(Told(text, facts)) from error


def _mismatch(where: Told, expected: ExpectedKey, received: str, error: asyncssh.HostKeyNotVerifiable) -> Told:
    facts: Facts = {"where": where, "expected": str(expected)}
    if expected.is_authority and not received:
        # The right authority: it is the certificate itself that does not hold.
        text = _(
            "%(where)s shows a certificate that is not good (%(said)s); nothing was sent. Have its host key signed anew, for "
            "the name or address in the inventory"
        )
        return Told(text, {**facts, "said": shown(error.reason)})
    text = _(
        "%(where)s shows %(received)s, but the inventory expects %(expected)s; nothing was sent. If it was rightly rebuilt, "
        "change its ssh_host_key"
    )
    return Told(text, {**facts, "received": verbatim(received) if received else Told(_("an unreadable host key"))})
