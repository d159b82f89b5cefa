"""One target's way to its node: sessions over a warm connection, and trying again when one breaks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from deploys.node.session import NodeError, NodeSession
from deploys.states import Step
from deploys.told import Told
from deploys.told import marked as _
from deploys.worker import story
from deploys.worker.assignment import Assignment
from deploys.worker.node_work import NodeWork
from deploys.worker.target_log import TargetLog
from inventory.nodes.transports.base import (
    ConnectionLost,
    Login,
    NodeMisbehaved,
    NodeUnreachable,
    Transport,
    TransportError,
)

T = TypeVar("T")

RETRY_PAUSES_SECONDS = (0.5, 2.0)


class NodeLink:
    def __init__(self, assignment: Assignment, node_work: NodeWork, log: TargetLog) -> None:
        self._assignment = assignment
        self._node_work = node_work
        self._log = log
        self._began = time.monotonic()
        self._told: Transport | None = None
        self._login: Login | None = None

    async def open(self, fence: int | None = None) -> NodeSession:
        """A session for this claim, or for another one's fence. Raises NodeUnreachable, HostKeyMismatch, NodeUnsuitable."""
        transport = await self._node_work.transport()
        self._tell_of(transport)
        return NodeSession(
            transport,
            root=self._assignment.deploy_root,
            fence=fence or self._assignment.fence,
            env=self._assignment.environment,
            on_event=self._log.on_event,
            flow=self._log.flow,
        )

    def _tell_of(self, transport: Transport) -> None:
        """Once of each connection."""
        login = transport.login
        if self._told is transport and self._login == login:
            return
        self._told, self._login = transport, login
        is_new = login is not None and login.began_at >= self._began
        self._log.say(story.connected(self._assignment.node, login, is_new=is_new), step=Step.CONNECT)

    async def try_again(self, call: Callable[[NodeSession], Awaitable[T]], *, is_safe_to_repeat: bool = True) -> T:
        """Call over a connection, again when none can be opened; when one breaks meanwhile, only if that is safe.

        A node that misbehaves is not asked again.
        """
        for pause_seconds in (*RETRY_PAUSES_SECONDS, None):
            try:
                return await call(await self.open())
            except NodeUnreachable as error:
                if pause_seconds is None:
                    raise
                self._log.say([Told(_("%(what)s."), {"what": error.told}), Told(_("Trying again."))])
            except ConnectionLost as error:
                if pause_seconds is None or not is_safe_to_repeat:
                    raise
                self._log.say([Told(_("%(what)s."), {"what": error.told}), Told(_("Trying again."))])
            await asyncio.sleep(pause_seconds)
        raise AssertionError("unreachable")

    async def end_command(self, fence: int | None, *, within_seconds: float) -> None:
        """End what this claim, or another one's fence, runs on the node. Raises nothing: the command's end is the proof."""
        try:
            async with asyncio.timeout(within_seconds):
                await (await self.open(fence)).abort()
        except (TransportError, NodeError, NodeMisbehaved, TimeoutError) as error:
            text = _("The running command could not be stopped on the node: %(said)s.")
            self._log.say([Told(text, {"said": str(error) or "-"})])
