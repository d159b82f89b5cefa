"""Asks many nodes at once what they run: one connection a node, bounded concurrency, a deadline for everything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from django.conf import settings

from inventory.nodes.state import Survey, survey_roots
from inventory.nodes.transports.base import LIAR_ADVICE, NodeAddress, NodeMisbehaved, TransportError
from inventory.nodes.transports.pool import ConnectionPool

logger = logging.getLogger(__name__)

NODE_SECONDS = 30.0
ALL_SECONDS = 300.0
_BATCH = 200


T = TypeVar("T")
# Asks a node about these roots: one answer a root, in order.
Ask = Callable[..., Awaitable[list[T]]]


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[T]):
    """A node's readings (or surveys), one for each root that was asked for; or why there are none.

    is_disbelieved: it answered, but what our program never says.
    """

    address: NodeAddress
    readings: tuple[T, ...] = ()
    error: str = ""
    is_disbelieved: bool = False


# What is asked about: deploy roots, or what else `Ask` takes.
Roots = Mapping[NodeAddress, Sequence[Any]]
Put = Callable[[Answer[T] | None], None]


def survey_nodes(roots: Roots) -> Iterator[list[Answer[Survey]]]:
    """What is in each root."""
    return ask_nodes(roots, survey_roots)


def ask_nodes(roots: Roots, ask: Ask[T]) -> Iterator[list[Answer[T]]]:
    """Answers in batches, as they come; each node answers once, or not at all when ALL_SECONDS are over."""
    answers: SimpleQueue[Answer[T] | None] = SimpleQueue()
    thread = Thread(target=_read_in_loop, args=(roots, ask, answers.put), name="node-readings", daemon=True)
    thread.start()
    is_over = False
    while not is_over:
        batch = [answers.get()]
        while len(batch) < _BATCH and batch[-1] is not None:
            try:
                batch.append(answers.get_nowait())
            except Empty:
                break
        is_over = batch[-1] is None
        if came := [answer for answer in batch if answer is not None]:
            yield came
    thread.join()


def _read_in_loop(roots: Roots, ask: Ask[T], put: Put[T]) -> None:
    """A loop and connections of its own: a sync must work in any thread, and shares nothing with a work loop."""
    try:
        asyncio.run(_read_all(roots, ask, put))
    except TimeoutError:
        logger.warning("Not every node was read within %.0f s.", ALL_SECONDS)
    finally:
        put(None)


async def _read_all(roots: Roots, ask: Ask[T], put: Put[T]) -> None:
    pool = ConnectionPool()
    gate = asyncio.Semaphore(settings.CONCURRENCY)
    try:
        async with asyncio.timeout(ALL_SECONDS), asyncio.TaskGroup() as group:
            for address, of_node in roots.items():
                group.create_task(_read_node(pool, gate, address, of_node, ask, put))
    finally:
        await pool.close()


async def _read_node(
    pool: ConnectionPool, gate: asyncio.Semaphore, address: NodeAddress, roots: Sequence[Any], ask: Ask[T], put: Put[T]
) -> None:
    async with gate:
        try:
            async with asyncio.timeout(NODE_SECONDS):
                transport = await pool.transport(address)
                readings = await ask(transport, roots, timeout_seconds=NODE_SECONDS)
            put(Answer(address=address, readings=tuple(readings)))
        except TransportError as error:
            put(Answer(address=address, error=error.message))
        except NodeMisbehaved as error:
            put(Answer(address=address, error=f"it {error.message}. {LIAR_ADVICE}", is_disbelieved=True))
        except TimeoutError:
            put(Answer(address=address, error=f"no answer within {NODE_SECONDS:.0f} s"))
        except Exception:
            # One node's trouble must not end the reading of the others; what it runs stays as recorded.
            logger.exception("Node %s could not be read.", address.name)
