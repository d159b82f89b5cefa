"""Speaks with deploys/node/program.sh about one instance's deploy root: stage, switch, ask, abort."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from deploys.error_codes import ErrorCode
from deploys.node import calls
from deploys.node.answers import (
    NOTHING,
    Answer,
    Checked,
    CommandEnded,
    CommandOutcome,
    Event,
    Linked,
    NodeError,
    NodeState,
    OutputLine,
    Removed,
    Staged,
    StaleFence,
    StepStarted,
    Switch,
    Verified,
    Waiting,
)
from deploys.node.conversation import Conversation
from deploys.node.grammar import TABLES
from deploys.node.refusals import refusal
from inventory.nodes.program import NodeCall, ended_early, new_mark
from inventory.nodes.transports.base import ConnectionLost, Transport
from inventory.nodes.transports.flow import Flow

__all__ = (
    "Checked",
    "CommandEnded",
    "CommandOutcome",
    "Event",
    "Linked",
    "NodeError",
    "NodeSession",
    "NodeState",
    "OutputLine",
    "Removed",
    "Staged",
    "StaleFence",
    "StepStarted",
    "Switch",
    "Verified",
    "Waiting",
)

STATE_SECONDS = 30.0
# Of a large release it reads the times of every file.
CHECK_SECONDS = 120.0
ABORT_SECONDS = 15.0
FORGET_SECONDS = 30.0
# For the node's own work around a command, and for an older claim's switch to end.
SPARE_SECONDS = 240.0
# Of the time for staging, so much may go into fetching the artifact; the rest is for what comes before and after.
FETCH_SHARE = 0.75


class NodeSession:
    """One claim's way to speak with one deploy root.

    env: the RELEASE_* variables of commands; RELEASE_VERSION and RELEASE_PREVIOUS_VERSION are the node's to say.
    Every method raises TransportError, NodeMisbehaved, NodeError, and all but state and abort StaleFence. A lost connection or a
    cancelled call does not stop what the node is doing.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        root: str,
        fence: int,
        env: Mapping[str, str],
        on_event: Callable[[Event], None],
        flow: Flow | None = None,
    ) -> None:
        """flow: of what commands print."""
        self._transport = transport
        self._flow = flow or Flow()
        self._root = root
        self._fence = fence
        self._env = env
        self._on_event = on_event

    async def stage(
        self,
        *,
        release: str,
        version: str,
        sha256: str,
        operation: str,
        artifact_path: Path | None,
        artifact_sha256: str = NOTHING,
        url: str | None = None,
        remote_artifact: str | None = None,
        keep_artifact: bool = False,
        base: tuple[str, str] | None = None,
        timeout_seconds: float,
    ) -> Staged:
        """Claim the root and have the release complete under releases/. Nothing visible changes for who runs `current`.

        Made from remote_artifact, a path on the node, if that is there and intact, else from the artifact with this digest:
        sent there, or fetched by the node itself when its url is given. base: what is given is a part, for the node to make the
        release of it and of this one (its name, its package's sha256). Older claims end first; one in the middle of a switch
        is waited for.
        """

        async def attempt(source: str, stdin: Path | bytes | None) -> Answer:
            call = self._call()
            size = _size_of(stdin) if isinstance(stdin, Path) else 0
            arguments = calls.stage(
                call,
                release=release,
                version=version,
                sha256=sha256,
                operation=operation,
                artifact_sha256=artifact_sha256,
                source=source,
                keeps_upload=keep_artifact,
                fetch_seconds=int(timeout_seconds * FETCH_SHARE),
                upload_bytes=size,
                base=base,
            )
            return await self._ask(call, arguments, timeout_seconds=timeout_seconds, stdin=stdin, upload_bytes=size)

        if artifact_path is None or remote_artifact is not None:
            answer = await attempt(remote_artifact or calls.NO_SOURCE, None)
            if artifact_path is None or answer.words.get("outcome") in ("present", "installed", "no_base"):
                return self._staged(answer, "kept")
        if url is not None:
            return self._staged(await attempt(calls.URL, f"{url}\n".encode()), "fetched")
        return self._staged(await attempt(calls.STDIN, artifact_path), "sent")

    def _staged(self, answer: Answer, way: Literal["sent", "fetched", "kept"]) -> Staged:
        if "damaged" in answer.words:
            raise ConnectionLost(f"{self._root}: {answer.words['damaged']}")
        return answer.staged(way)

    async def check_release(self, *, release: str, sha256: str) -> Checked:
        """What a deploy of it would meet there. Claims nothing, changes nothing."""
        call = self._call()
        arguments = calls.check_release(call, release=release, sha256=sha256)
        answer = await self._ask(call, arguments, timeout_seconds=CHECK_SECONDS)
        return answer.checked()

    async def before_switch(self, *, release: str, command: str, timeout_seconds: int) -> CommandOutcome:
        """Run a command in the staged release's folder; its output comes as events."""
        call = self._call()
        arguments = calls.before_switch(
            call, release=release, timeout_seconds=timeout_seconds, command=command, env=self._env
        )
        answer = await self._ask(
            call, arguments, timeout_seconds=timeout_seconds + SPARE_SECONDS, command_seconds=timeout_seconds
        )
        return answer.ended()

    async def switch(
        self,
        *,
        release: str,
        sha256: str,
        operation: str,
        restart_command: str,
        timeout_seconds: int,
        keep: Sequence[str],
        version_command: str = "",
        version_timeout_seconds: int = 0,
        confirm_within_seconds: int = 0,
    ) -> Switch:
        """Claim the root if it is not ours yet; link, restart, verify; on failure back and restart again; clean up.

        version_command: has to print, on its first line and within its time, which version runs; '' when nothing has to.

        Switching to what is current already restarts it. Raises NodeError when the link could not be moved. To be confirmed
        within so many seconds, it answers after its restart, with the phase `confirming`, and the node waits on by itself.
        """
        call = self._call()
        arguments = calls.switch(
            call,
            release=release,
            sha256=sha256,
            operation=operation,
            timeout_seconds=timeout_seconds,
            restart_command=restart_command,
            keep=keep,
            version_timeout_seconds=version_timeout_seconds,
            version_command=version_command,
            confirm_within_seconds=confirm_within_seconds,
            env=self._env,
        )
        answer = await self._ask(
            call,
            arguments,
            timeout_seconds=4 * timeout_seconds + version_timeout_seconds + SPARE_SECONDS,
            # What the restart has left running may print on while its version is asked for.
            command_seconds=timeout_seconds + version_timeout_seconds,
        )
        return answer.switch(fence=self._fence, release=release)

    async def conclude(
        self, *, decision: str, operation: str, restart_command: str, timeout_seconds: int, keep: Sequence[str]
    ) -> NodeState:
        """Claim the root, and end the waiting of a switch that is to be confirmed: confirmed in time by the node's clock it
        stays, else it is gone back from. One that has ended before is left as it is. decision: of `deploys.node.calls`.
        """
        call = self._call()
        arguments = calls.conclude(
            call,
            decision=decision,
            operation=operation,
            timeout_seconds=timeout_seconds,
            restart_command=restart_command,
            keep=keep,
            env=self._env,
        )
        answer = await self._ask(
            call, arguments, timeout_seconds=2 * timeout_seconds + SPARE_SECONDS, command_seconds=timeout_seconds
        )
        return answer.state()

    async def state(self) -> NodeState:
        """What is so on the node now. Claims nothing, waits for nothing."""
        call = self._call()
        answer = await self._ask(call, calls.state(call), timeout_seconds=STATE_SECONDS, is_urgent=True)
        return answer.state()

    async def abort(self) -> None:
        """End the command that this claim runs on the node. A switch is then reverted; that restart gets 20 s at most."""
        call = self._call()
        await self._ask(call, calls.abort(call), timeout_seconds=ABORT_SECONDS, is_urgent=True)

    async def forget(self, path: str) -> None:
        """Remove an upload that was kept."""
        call = self._call()
        await self._ask(call, calls.forget(call, path=path), timeout_seconds=FORGET_SECONDS, is_urgent=True)

    def _call(self) -> NodeCall:
        return NodeCall(mark=new_mark(), root=self._root, fence=self._fence)

    async def _ask(
        self,
        call: NodeCall,
        arguments: Sequence[str],
        *,
        timeout_seconds: float,
        stdin: Path | bytes | None = None,
        upload_bytes: int | None = None,
        is_urgent: bool = False,
        command_seconds: float = 0.0,
    ) -> Answer:
        _mark, task, *_ = arguments
        flow = Flow() if is_urgent else self._flow
        conversation = Conversation(
            self._transport, call, TABLES[task], self._on_event, flow, command_seconds=command_seconds
        )
        result = await self._transport.run(
            calls.node_program(),
            arguments,
            stdin=stdin,
            upload_bytes=upload_bytes,
            wanted=None if stdin is None else conversation.wants_stdin,
            on_output=conversation.hear,
            is_done=conversation.streams.is_done,
            is_ready=conversation.streams.is_ready,
            timeout_seconds=timeout_seconds,
            is_urgent=is_urgent,
            flow=flow,
        )
        conversation.streams.finish()
        if not conversation.streams.is_over():
            raise ended_early(result, has_begun=conversation.has_begun, last_words=conversation.last_words)
        return self._checked(conversation.answer)

    def _checked(self, answer: Answer) -> Answer:
        if "error" not in answer.words:
            return answer
        word, _, text = answer.words["error"].partition(" ")
        code = ErrorCode.named(word) or ErrorCode.INTERNAL_ERROR
        match word:
            case "stale":
                raise StaleFence(int(text))
            case "damaged":
                answer.words["damaged"] = text
                return answer
            case _:
                found, current = answer.words.get("found", ""), answer.current()
                raise NodeError(code, refusal(code, text, root=self._root, found=found, current=current))


def _size_of(path: Path) -> int:
    """0 when it is not there: the transport says so."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
