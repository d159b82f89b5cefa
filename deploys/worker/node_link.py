"""One target's way to its node: sessions over a warm connection, and trying again when one breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from deploys.node.session import NodeSession
from deploys.worker.assignment import Assignment
from deploys.worker.node_work import NodeRun
from deploys.worker.target_log import Journal
from inventory.nodes.transports.base import ConnectionLost, NodeUnreachable

T = TypeVar("T")

RETRY_PAUSES_SECONDS = (0.5, 2.0)


class NodeLink:
    def __init__(self, assignment: Assignment, node_run: NodeRun, journal: Journal) -> None:
        self._assignment = assignment
        self._node_run = node_run
        self._journal = journal

    async def open(self, fence: int | None = None) -> NodeSession:
        """A session for this claim, or for another one's fence. Raises NodeUnreachable, HostKeyMismatch, NodeUnsuitable."""
        transport = await self._node_run.transport()
        return NodeSession(
            transport,
            root=self._assignment.deploy_root,
            fence=fence or self._assignment.fence,
            env=self._assignment.environment,
            on_event=self._journal.on_event,
        )

    async def try_again(self, call: Callable[[NodeSession], Awaitable[T]], *, is_safe_to_repeat: bool = True) -> T:
        """Call over a connection, again when none can be had; when one breaks meanwhile, only if that is safe."""
        for pause_seconds in (*RETRY_PAUSES_SECONDS, None):
            try:
                return await call(await self.open())
            except NodeUnreachable as error:
                if pause_seconds is None:
                    raise
                self._journal.say(f"{error.message}. Trying again.")
            except ConnectionLost as error:
                if pause_seconds is None or not is_safe_to_repeat:
                    raise
                self._journal.say(f"{error.message}. Trying again.")
            await asyncio.sleep(pause_seconds)
        raise AssertionError("unreachable")
