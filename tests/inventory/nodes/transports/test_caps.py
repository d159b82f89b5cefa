"""However much a node says, and however: a call keeps a bounded part of it, and ends with one typed error."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from inventory.nodes.check import try_connection
from inventory.nodes.host_keys import fetch_host_key
from inventory.nodes.state import survey_roots
from inventory.nodes.transports import ssh
from inventory.nodes.transports.base import (
    LONGEST_MESSAGE,
    MOST_BYTES,
    MOST_KEPT_BYTES,
    CommandResult,
    NodeAddress,
    NodeMisbehaved,
    NodeUnreachable,
    OnOutput,
    TransportError,
)
from inventory.nodes.transports.ssh import SshTransport
from tests.inventory.nodes.transports.conftest import Opened
from tests.support.lying_node import Call, Disconnect, Err, LyingNode, Said, disconnect_at_once, speaks_first

MIB = 1024 * 1024
NASTY = "\x00one\x1b[31mtwo\x1b]0;title\x07\r\nthree\u202efour\x9b1mfive"


def endless(_call: Call | None) -> Iterator[Said]:
    while True:
        yield b"x" * 65536


def address(node: LyingNode, **changed: object) -> NodeAddress:
    return NodeAddress(**{"name": "node-1", **node.node_fields, **changed})  # type: ignore[arg-type]


def run(node: LyingNode, *, on_output: OnOutput | None = None) -> CommandResult:
    async def main() -> CommandResult:
        transport = SshTransport(address(node), key_file=str(node.private_key))
        try:
            return await transport.run("", ["mark", "state", "/srv", "0"], on_output=on_output, timeout_seconds=20)
        finally:
            await transport.close()

    return asyncio.run(main())


@pytest.mark.parametrize("takes", [False, True])
def test_a_program_without_end_is_read_no_further_than_the_cap(opened: Opened, takes: bool) -> None:
    taken = 0

    def take(_stream: str, data: bytes) -> None:
        nonlocal taken
        taken += len(data)

    async def main() -> None:
        async with opened() as transport:
            await transport.run("yes", timeout_seconds=20, on_output=take if takes else None)

    with pytest.raises(NodeMisbehaved, match=r"more than (32|1) MiB in one answer.*: “yy"):
        asyncio.run(main())
    assert taken <= MOST_BYTES


def test_both_streams_count_together(lying_node: LyingNode) -> None:
    lying_node.answers["state"] = lambda call: [b"x" * 600_000, Err(b"y" * 600_000)]
    with pytest.raises(NodeMisbehaved, match="more than 1 MiB"):
        run(lying_node)


def test_as_much_as_may_be_is_kept_whole(lying_node: LyingNode) -> None:
    lying_node.answers["state"] = lambda call: [b"x" * MOST_KEPT_BYTES]
    assert len(run(lying_node).stdout) == MOST_KEPT_BYTES


def test_an_answer_without_end_costs_sync_and_the_connection_test_little(lying_node: LyingNode, settings: Any) -> None:
    lying_node.answers |= {"survey": endless, "check": endless}
    settings.SSH_KEY_FILE = str(lying_node.private_key)

    async def sync() -> None:
        transport = SshTransport(address(lying_node), key_file=str(lying_node.private_key))
        try:
            await survey_roots(transport, ["/srv/1"], timeout_seconds=20)
        finally:
            await transport.close()

    tracemalloc.start()
    with pytest.raises(NodeMisbehaved):
        asyncio.run(sync())
    assert "answered what our program never says" in try_connection(address(lying_node)).error
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Of the client and of the lying server's own buffers.
    assert peak < 16 * MIB
    assert lying_node.sent_bytes < 16 * MIB


def test_a_program_that_floods_while_it_stands_by_is_closed(
    lying_node: LyingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "STAND_BY_AFTER_SECONDS", 0.0)
    lying_node.standby = lambda: endless(None)

    async def main() -> None:
        transport = SshTransport(address(lying_node), key_file=str(lying_node.private_key), standby="program")
        try:
            await transport.connected()
            while lying_node.sent_bytes < MOST_BYTES:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
            with pytest.raises(NodeMisbehaved):
                await transport.run("program", ["mark", "state", "/srv", "0"], timeout_seconds=20)
        finally:
            await transport.close()

    asyncio.run(main())
    assert lying_node.sent_bytes < 2 * MOST_BYTES


@pytest.mark.parametrize("where", ["disconnect", "session", "banner"])
def test_what_a_server_says_outside_of_programs_is_cleaned_and_cut(lying_node: LyingNode, where: str) -> None:
    text = NASTY + "z" * 5000
    if where == "disconnect":
        lying_node.answers["state"] = lambda call: [Disconnect(text)]
    elif where == "session":
        lying_node.refuses_sessions = text
    else:
        lying_node.banner, lying_node.refuses_login = text, True
    with pytest.raises(TransportError) as caught:
        run(lying_node)
    assert_is_safe(caught.value.message)


@pytest.mark.parametrize(("banner", "times"), [("x", 1_000), ("b" * 100_000, 5)])
def test_a_login_hears_only_so_many_banners(lying_node: LyingNode, banner: str, times: int) -> None:
    lying_node.banner, lying_node.banners = banner, times
    with pytest.raises(NodeUnreachable, match="it sends banners or debug messages without end"):
        run(lying_node)


def test_a_banner_or_two_are_no_harm(lying_node: LyingNode) -> None:
    lying_node.banner, lying_node.banners = "Welcome\n" * 100, 2
    assert run(lying_node).exit_status == 0


def test_a_reason_before_any_host_key_is_cleaned_and_cut(lying_node: LyingNode) -> None:
    with speaks_first(disconnect_at_once(NASTY.encode() + b"z" * 5000)) as port:
        messages = [try_connection(address(lying_node, ssh_port=port)).error]
        with pytest.raises(NodeUnreachable) as caught:
            fetch_host_key(address(lying_node, ssh_port=port))
        messages.append(caught.value.message)
    for message in messages:
        assert_is_safe(message)


def assert_is_safe(message: str) -> None:
    assert message.isprintable()
    assert len(message) <= LONGEST_MESSAGE
    assert "z" * 300 not in message
