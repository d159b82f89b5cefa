"""Reaches a node just as a deploy would, runs nothing but `true`, and says how it went."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from inventory.nodes.transports.base import NodeAddress, TransportError
from inventory.nodes.transports.pool import ConnectionPool

TEST_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Connection:
    """milliseconds: from nothing to the command's end. error: '' when all went well."""

    milliseconds: int
    error: str = ""


def try_connection(address: NodeAddress) -> Connection:
    began = time.monotonic()
    error = asyncio.run(_try(address))
    return Connection(milliseconds=round((time.monotonic() - began) * 1000), error=error)


async def _try(address: NodeAddress) -> str:
    pool = ConnectionPool()
    try:
        async with asyncio.timeout(TEST_SECONDS):
            transport = await pool.transport(address)
            result = await transport.run(["true"], timeout_seconds=TEST_SECONDS)
        return "" if result.exit_status == 0 else f"`true` ended with {result.exit_status}"
    except TransportError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {TEST_SECONDS:.0f} s"
    finally:
        await pool.close()
