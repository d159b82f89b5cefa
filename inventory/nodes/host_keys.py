"""Asks a node's SSH server for its host key, for a person to look at: nothing is trusted by that."""

from __future__ import annotations

import asyncio

import asyncssh

from inventory.nodes.transports.base import NodeUnreachable, shown
from inventory.nodes.transports.ssh_login import HOST_KEYS, KEX
from inventory.validation import without_comment

FETCH_SECONDS = 10.0


def fetch_host_key(*, host: str, port: int) -> str:
    """`algorithm base64` of the key that the transports would ask for first. Raises NodeUnreachable."""
    return asyncio.run(_fetch(host, port))


async def _fetch(host: str, port: int) -> str:
    where = f"{host}:{port}"
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            key = await asyncssh.get_server_host_key(
                host, port, config=None, kex_algs=KEX, server_host_key_algs=HOST_KEYS
            )
    except TimeoutError:
        raise NodeUnreachable(f"{where} did not answer within {FETCH_SECONDS:.0f} s") from None
    except (OSError, asyncssh.Error, ValueError) as error:
        raise NodeUnreachable(f"{where} can't be asked: {shown(str(error))}") from error
    if key is None:
        raise NodeUnreachable(f"{where} showed no host key")
    return without_comment(key.export_public_key("openssh").decode())
