"""After a deploy: have the rollbacks' workers log in to its nodes, so that the first rollback finds warm connections.

Only ever a help: nothing waits for it, and a login that fails is tried again by whoever needs the node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from django.db import Error
from django_q.tasks import async_task

from deploys.queue.names import ROLLBACKS
from deploys.worker import event_loop
from inventory.database.outage import Patience
from inventory.models import Node, TransportKind
from inventory.nodes.transports.base import NodeAddress, TransportError
from inventory.nodes.transports.jump_address import LOADED

logger = logging.getLogger(__name__)

# A work loop's newest so many nodes; the pool drops the least recently used beyond its own limit.
NODES = 200
LOGINS_AT_ONCE = 4


def announce(node_pks: Iterable[int]) -> None:
    """Queue it for one of the rollbacks' workers. Raises nothing: a deploy that has ended well stays so."""
    newest = list(dict.fromkeys(node_pks))[-NODES:]
    if not newest:
        return
    try:
        Patience("early logins").attempt(lambda: async_task("deploys.tasks.warm", newest, cluster=ROLLBACKS))
    except Error:
        logger.exception("The rollbacks' workers could not be told to log in early.")


def warm(node_pks: Sequence[int]) -> None:
    """Begin to log in to these nodes from this process, and return at once: a rollback must never wait for it."""
    nodes = Node.objects.select_related(LOADED).filter(pk__in=node_pks, transport=TransportKind.SSH)
    event_loop.start(_log_in([NodeAddress.of(node) for node in nodes]))


async def _log_in(addresses: Sequence[NodeAddress]) -> None:
    turns = asyncio.Semaphore(LOGINS_AT_ONCE)

    async def log_in(address: NodeAddress) -> None:
        async with turns:
            try:
                await event_loop.connection_pool().transport(address)
            except TransportError as error:
                logger.info("No early login to node '%s': %s", address.name, error.message)

    await asyncio.gather(*(log_in(address) for address in addresses))
