from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from deploys.node import calls
from inventory.nodes.program import NodeCall
from inventory.nodes.transports import ssh
from inventory.nodes.transports.base import ConnectionLost
from inventory.nodes.transports.bootstrap import ARGV
from inventory.nodes.transports.ssh import SshTransport
from tests.inventory.nodes.transports.conftest import ssh_address
from tests.support.sshd import SshServer
from tests.support.tcp_proxy import tcp_proxy

# Says whether it stood by, then each of its arguments, then its stdin.
PROGRAM = r"""
if [ "$1" = wait ]; then
    read -r line || exit 0
    printf '\006\n'
    read -r line || exit 0
    eval "set -- $line"
    printf 'stood by;'
fi
printf '%s;' "$@"
cat
"""
REFUSING = '[ "$1" != wait ] || exit 126; printf "%s;" "$@"'


@asynccontextmanager
async def connected(sshd: SshServer, program: str = PROGRAM, **changed: object) -> AsyncIterator[SshTransport]:
    transport = SshTransport(ssh_address(sshd, **changed), key_file=str(sshd.private_key), standby=program)
    try:
        await transport.connected()
        yield transport
    finally:
        await transport.close()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.02)


def waiting_programs(sshd: SshServer) -> list[psutil.Process]:
    """Of this server's connections: other tests' nodes may have the same account."""
    found = []
    for process in sshd.descendants():
        with suppress(psutil.NoSuchProcess):
            if process.cmdline() == [*ARGV]:
                found.append(process)
    return found


async def stands_by(sshd: SshServer) -> None:
    await until(lambda: bool(waiting_programs(sshd)))
    await asyncio.sleep(0.1)


async def said(transport: SshTransport, *arguments: str, stdin: Path | bytes | None = None) -> str:
    result = await transport.run(PROGRAM, arguments, stdin=stdin, timeout_seconds=20)
    assert result.exit_status == 0
    return result.stdout.decode()


def test_after_a_login_a_program_stands_by_and_gets_every_argument_as_it_is(own_sshd: SshServer) -> None:
    odd = ("it's", "two\nlines\n", '$(touch x) `id` \\ "', "", "版本", "*")

    async def main() -> None:
        async with connected(own_sshd) as transport:
            await stands_by(own_sshd)
            assert await said(transport, *odd) == "stood by;" + "".join(f"{word};" for word in odd)
            assert await said(transport, *odd) == "".join(f"{word};" for word in odd)
            await stands_by(own_sshd)
            assert (await said(transport, "again")).startswith("stood by;")

    asyncio.run(main())


def test_an_upload_reaches_it_whole(own_sshd: SshServer, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    (tmp_path / "source").write_bytes(content)

    async def main() -> None:
        async with connected(own_sshd) as transport:
            await stands_by(own_sshd)
            result = await transport.run(PROGRAM, ["x"], stdin=tmp_path / "source", timeout_seconds=20)
            assert result.stdout == b"stood by;x;" + content

    asyncio.run(main())


def test_an_upload_that_is_not_as_long_as_the_program_was_told_ends_the_call(
    own_sshd: SshServer, tmp_path: Path
) -> None:
    """A program that takes several calls would wait for the rest of it, or take what is too much for the next one."""
    (tmp_path / "source").write_bytes(bytes(1000))

    async def main() -> None:
        async with connected(own_sshd) as transport:
            for size in (999, 1001):
                with pytest.raises(ConnectionLost, match=f"has 1000 bytes, {size} were to be sent"):
                    await transport.run(
                        PROGRAM,
                        ["x"],
                        stdin=tmp_path / "source",
                        upload_bytes=size,
                        is_done=lambda: False,
                        is_ready=lambda: False,
                        timeout_seconds=20,
                    )

    asyncio.run(main())


def test_other_programs_and_calls_at_the_same_time_start_as_ever(own_sshd: SshServer) -> None:
    async def main() -> None:
        async with connected(own_sshd) as transport:
            await stands_by(own_sshd)
            assert (await transport.run("echo plain", timeout_seconds=20)).stdout == b"plain\n"
            answers = await asyncio.gather(*(said(transport, str(n)) for n in range(5)))
            assert sorted(answers) == ["1;", "2;", "3;", "4;", "stood by;0;"]

    asyncio.run(main())


def test_a_node_that_refuses_it_is_not_asked_again(own_sshd: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "STAND_BY_AFTER_SECONDS", 0.05)

    async def main() -> None:
        async with connected(own_sshd, REFUSING) as transport:
            for word in ("1", "2", "3", "4"):
                await asyncio.sleep(0.4)
                result = await transport.run(REFUSING, [word], timeout_seconds=20)
                assert result.stdout == f"{word};".encode()

    asyncio.run(main())
    assert own_sshd.log.count("Starting session") == 5


def test_a_node_that_grants_one_session_gives_it_to_who_needs_it(own_sshd: SshServer) -> None:
    own_sshd.reconfigure("MaxSessions 2000", "MaxSessions 1")

    async def main() -> None:
        async with connected(own_sshd) as transport:
            await stands_by(own_sshd)
            assert (await transport.run("echo plain", timeout_seconds=20)).stdout == b"plain\n"

    asyncio.run(main())


def test_a_connection_that_died_unnoticed_is_replaced_before_anything_is_sent(
    own_sshd: SshServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ssh, "CHANNEL_SECONDS", 1)

    async def main() -> None:
        with tcp_proxy(own_sshd.port) as proxy:
            async with connected(own_sshd, ssh_port=proxy.port) as transport:
                await stands_by(own_sshd)
                proxy.stall()
                asyncio.get_running_loop().call_later(1.5, proxy.flow)
                assert await said(transport, "late") == "late;"
            assert proxy.connections == 2

    asyncio.run(main())


def test_one_that_was_killed_is_done_without(own_sshd: SshServer) -> None:
    async def main() -> None:
        async with connected(own_sshd) as transport:
            await stands_by(own_sshd)
            for process in waiting_programs(own_sshd):
                process.kill()
            assert await said(transport, "x") == "x;"

    asyncio.run(main())


def test_nothing_stays_behind_on_the_node(own_sshd: SshServer) -> None:
    async def main() -> None:
        async with connected(own_sshd):
            await stands_by(own_sshd)

    asyncio.run(main())
    deadline = time.monotonic() + 10
    while waiting_programs(own_sshd) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not waiting_programs(own_sshd)


def test_the_node_program_understands_it(own_sshd: SshServer) -> None:
    root = own_sshd.node_root()
    call = NodeCall(mark="\x1eabc", root=root, fence=1)

    async def main() -> None:
        async with connected(own_sshd, calls.node_program()) as transport:
            plain = await transport.run(calls.node_program(), calls.state(call), timeout_seconds=20)
            await stands_by(own_sshd)
            sessions = own_sshd.log.count("Starting session")
            again = await transport.run(calls.node_program(), calls.state(call), timeout_seconds=20)
            assert again.stdout.replace(b"\x1eabc ready\n", b"") == plain.stdout
            assert own_sshd.log.count("Starting session") == sessions

    asyncio.run(main())
