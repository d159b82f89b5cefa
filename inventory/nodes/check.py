"""Reaches a node just as a deploy would, and has it say whether a deploy could be done there. Changes nothing on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.conf import settings

from inventory.nodes.grammar import check_table, kilobytes
from inventory.nodes.program import ROOTS_AT_ONCE, ask
from inventory.nodes.transports.base import LIAR_ADVICE, NodeAddress, NodeMisbehaved, Transport, TransportError
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.nodes.transports.pool import ConnectionPool
from inventory.nodes.transports.ssh_login import Logins

TEST_SECONDS = 20.0
# Less than this is no room for any release.
LEAST_ROOM_KILOBYTES = 64 * 1024
NO_ROOT = "-"


@dataclass(frozen=True, kw_only=True)
class Connection:
    """milliseconds: from nothing to the check's end. error: '' when a deploy could be done."""

    milliseconds: int
    error: str = ""


def try_connection(address: NodeAddress, roots: Sequence[str] = ()) -> Connection:
    """roots: the deploy roots on the node, to be looked at too."""
    began = time.monotonic()
    error = asyncio.run(_try(address, roots or (NO_ROOT,)))
    return Connection(milliseconds=round((time.monotonic() - began) * 1000), error=error)


def try_jump_host(address: JumpAddress) -> Connection:
    """Logs in to it as a deploy to a node behind it would, and asks it for nothing."""
    began = time.monotonic()
    error = asyncio.run(_try_jump_host(address))
    return Connection(milliseconds=round((time.monotonic() - began) * 1000), error=error)


async def _try_jump_host(address: JumpAddress) -> str:
    hops = Logins(lambda: str(settings.SSH_KEY_FILE)).hops
    try:
        async with asyncio.timeout(TEST_SECONDS):
            await hops.to(address)
        return ""
    except TransportError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {TEST_SECONDS:.0f} s"
    finally:
        await hops.close()


async def _try(address: NodeAddress, roots: Sequence[str]) -> str:
    pool = ConnectionPool()
    try:
        async with asyncio.timeout(TEST_SECONDS):
            transport = await pool.transport(address)
            frames = [frame for some in _batches(roots) for frame in await _check(transport, some)]
        return "; ".join(_problems(frames))
    except TransportError as error:
        return error.message
    except NodeMisbehaved as error:
        return f"it {error.message}. {LIAR_ADVICE}"
    except TimeoutError:
        return f"no answer within {TEST_SECONDS:.0f} s"
    finally:
        await pool.close()


def _batches(roots: Sequence[str]) -> Iterator[Sequence[str]]:
    return (roots[start : start + ROOTS_AT_ONCE] for start in range(0, len(roots), ROOTS_AT_ONCE))


async def _check(transport: Transport, roots: Sequence[str]) -> list[tuple[str, str]]:
    return await ask(transport, "check", roots, check_table(len(roots)), timeout_seconds=TEST_SECONDS)


def _problems(frames: Sequence[tuple[str, str]]) -> Iterator[str]:
    for word, rest in dict.fromkeys(frames):
        match word:
            case "missing":
                yield f"it lacks {rest}"
            case "unwritable":
                yield f"its user may not write {rest}"
            case "nolink":
                yield f"{rest} is no link, and is not replaced: move it away"
            case "room" if (free := kilobytes(rest)) is not None and free < LEAST_ROOM_KILOBYTES:
                yield f"only {free // 1024} MiB are left on the disk of a deploy root"
