"""Asks an SSH server for its host key, for a person to look at: nothing is trusted by that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncssh
from django.conf import settings

from inventory.nodes.transports.base import NodeUnreachable, shown
from inventory.nodes.transports.host_key import HOST_KEYS
from inventory.nodes.transports.ssh_hops import Address
from inventory.nodes.transports.ssh_login import KEX, Logins
from inventory.validation import without_comment

FETCH_SECONDS = 10.0


def fetch_host_key(address: Address) -> str:
    """`algorithm base64` of the key that the transports would ask for first, through its jump hosts if it has any.

    Its own ssh_host_key does not matter; those of its jump hosts do. Raises NodeUnreachable, JumpHostKeyMismatch.
    """
    return asyncio.run(_fetch(address))


async def _fetch(address: Address) -> str:
    where = f"{address.host}:{address.ssh_port}"
    try:
        async with asyncio.timeout(FETCH_SECONDS), _way_to(address) as way:
            key = await asyncssh.get_server_host_key(
                address.host,
                address.ssh_port,
                tunnel=way,
                config=None,
                kex_algs=KEX,
                server_host_key_algs=HOST_KEYS,
            )
    except TimeoutError:
        raise NodeUnreachable(f"{where} did not answer within {FETCH_SECONDS:.0f} s") from None
    except (OSError, asyncssh.Error, ValueError) as error:
        raise NodeUnreachable(f"{where} can't be asked: {shown(str(error))}") from error
    if key is None:
        raise NodeUnreachable(f"{where} showed no host key")
    return without_comment(key.export_public_key("openssh").decode())


@asynccontextmanager
async def _way_to(address: Address) -> AsyncIterator[Any]:
    """asyncssh's tunnel through its jump hosts, `()` where it has none."""
    if address.jump is None:
        yield ()
        return
    hops = Logins(lambda: str(settings.SSH_KEY_FILE)).hops
    try:
        yield await hops.stream(await hops.to(address.jump), address)
    finally:
        await hops.close()
