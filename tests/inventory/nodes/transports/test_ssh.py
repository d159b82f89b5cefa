from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import psutil
import pytest

from inventory.nodes.transports import ssh, ssh_login
from inventory.nodes.transports.base import ConnectionLost, HostKeyMismatch, NodeUnreachable, RunTimeout
from inventory.nodes.transports.ssh import SshTransport
from tests.inventory.nodes.transports.conftest import ssh_address
from tests.support.ports import free_port
from tests.support.sshd import SshServer
from tests.support.tcp_proxy import TcpProxy, tcp_proxy


def transport_to(sshd: SshServer, **changed: object) -> SshTransport:
    return SshTransport(ssh_address(sshd, **changed), key_file=str(sshd.private_key))


def run_once(transport: SshTransport, program: str = "true", **options: object) -> None:
    async def main() -> None:
        try:
            await transport.run(program, **{"timeout_seconds": 10, **options})  # type: ignore[arg-type]
        finally:
            await transport.close()

    asyncio.run(main())


def test_a_changed_host_key_is_refused_naming_both_before_anything_is_sent(own_sshd: SshServer, tmp_path: Path) -> None:
    old = own_sshd.host_key
    own_sshd.change_host_key()
    with pytest.raises(HostKeyMismatch) as caught:
        run_once(transport_to(own_sshd, ssh_host_key=old), "echo run")
    assert caught.value.code == "node_host_key_mismatch"
    assert caught.value.message.count("SHA256:") == 2
    assert "Accepted" not in own_sshd.log
    assert "Failed publickey" not in own_sshd.log


def test_a_host_key_of_another_kind_is_a_mismatch_too(sshd: SshServer, tmp_path: Path) -> None:
    import asyncssh

    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    with pytest.raises(HostKeyMismatch, match=r"ecdsa-sha2-nistp256.*SHA256:"):
        run_once(transport_to(sshd, ssh_host_key=other))


@pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "no key at all"])
def test_a_node_without_a_usable_host_key_is_never_trusted(sshd: SshServer, key: str) -> None:
    with pytest.raises(HostKeyMismatch, match="ssh_host_key"):
        run_once(transport_to(sshd, ssh_host_key=key))


def test_a_key_that_the_node_does_not_know_is_refused(sshd: SshServer, own_sshd: SshServer) -> None:
    transport = SshTransport(ssh_address(sshd), key_file=str(own_sshd.private_key))
    with pytest.raises(NodeUnreachable, match="refuses the login"):
        run_once(transport)


def test_a_missing_key_file_is_named(sshd: SshServer) -> None:
    with pytest.raises(NodeUnreachable, match="/no/such/key"):
        run_once(SshTransport(ssh_address(sshd), key_file="/no/such/key"))


def test_without_a_key_file_or_agent_it_says_what_to_set(sshd: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(NodeUnreachable, match="RELEASE_SSH_KEY_FILE"):
        run_once(SshTransport(ssh_address(sshd), key_file=""))


def test_it_logs_in_with_the_agents_key(sshd: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    lines = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    settings = dict(part.split("=", 1) for part in lines.replace("\n", "").split(";") if "=" in part)
    monkeypatch.setenv("SSH_AUTH_SOCK", settings["SSH_AUTH_SOCK"])
    try:
        subprocess.run(["ssh-add", "-q", str(sshd.private_key)], check=True, capture_output=True)
        run_once(SshTransport(ssh_address(sshd), key_file=""))
    finally:
        subprocess.run(["kill", settings["SSH_AGENT_PID"]], check=True)


def test_a_port_where_nobody_listens_is_unreachable(sshd: SshServer) -> None:
    with pytest.raises(NodeUnreachable):
        run_once(transport_to(sshd, ssh_port=free_port()))


def test_a_node_that_accepts_and_never_answers_is_given_up(sshd: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_login, "LOGIN_SECONDS", 1)
    monkeypatch.setattr(ssh_login, "CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        begun = time.monotonic()
        with pytest.raises(NodeUnreachable):
            run_once(transport_to(sshd, ssh_port=mute.getsockname()[1]))
    assert time.monotonic() - begun < 4


def test_it_keeps_one_connection_for_many_runs(sshd: SshServer) -> None:
    async def main(proxy: TcpProxy) -> None:
        transport = transport_to(sshd, ssh_port=proxy.port)
        await asyncio.gather(*(transport.run("true", timeout_seconds=10) for _ in range(30)))
        await transport.close()

    with tcp_proxy(sshd.port) as proxy:
        asyncio.run(main(proxy))
        assert proxy.connections == 1


def test_a_cut_while_a_command_runs_is_told_apart_from_a_failed_login(sshd: SshServer) -> None:
    async def main(proxy: TcpProxy) -> None:
        transport = transport_to(sshd, ssh_port=proxy.port)
        task = asyncio.create_task(transport.run("sleep 5", timeout_seconds=10))
        await asyncio.sleep(0.5)
        proxy.cut()
        with pytest.raises(ConnectionLost):
            await task
        assert (await transport.run("true", timeout_seconds=10)).exit_status == 0
        await transport.close()

    with tcp_proxy(sshd.port) as proxy:
        asyncio.run(main(proxy))
        assert proxy.connections == 2


def test_a_cut_in_mid_upload_is_a_lost_connection(sshd: SshServer, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(8 * 1024 * 1024))

    async def main(proxy: TcpProxy) -> None:
        transport = transport_to(sshd, ssh_port=proxy.port)
        await transport.run("true", timeout_seconds=10)
        proxy.cut_after(2 * 1024 * 1024)
        with pytest.raises(ConnectionLost):
            await transport.run("sha256sum", stdin=source, timeout_seconds=10)
        await transport.close()

    with tcp_proxy(sshd.port) as proxy:
        asyncio.run(main(proxy))


def test_a_warm_connection_that_died_unnoticed_is_replaced(sshd: SshServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "CHANNEL_SECONDS", 1)

    async def main(proxy: TcpProxy) -> None:
        transport = transport_to(sshd, ssh_port=proxy.port)
        await transport.run("true", timeout_seconds=10)
        proxy.stall()
        asyncio.get_running_loop().call_later(1.5, proxy.flow)
        assert (await transport.run("true", timeout_seconds=10)).exit_status == 0
        await transport.close()

    with tcp_proxy(sshd.port) as proxy:
        asyncio.run(main(proxy))
        assert proxy.connections == 2


def test_a_node_that_falls_silent_in_mid_run_meets_the_deadline(sshd: SshServer) -> None:
    async def main(proxy: TcpProxy) -> None:
        transport = transport_to(sshd, ssh_port=proxy.port)
        await transport.run("true", timeout_seconds=10)
        task = asyncio.create_task(transport.run("sleep 20", timeout_seconds=1))
        await asyncio.sleep(0.3)
        proxy.stall()
        with pytest.raises(RunTimeout):
            await task
        await transport.close()

    with tcp_proxy(sshd.port) as proxy:
        begun = time.monotonic()
        asyncio.run(main(proxy))
        assert time.monotonic() - begun < 4


def test_a_node_that_grants_two_sessions_still_runs_twenty_programs(own_sshd: SshServer) -> None:
    own_sshd.reconfigure("MaxSessions 2000", "MaxSessions 2")

    async def main() -> None:
        transport = transport_to(own_sshd)
        results = await asyncio.gather(*(transport.run("sleep 0.05", timeout_seconds=20) for _ in range(20)))
        assert {result.exit_status for result in results} == {0}
        await transport.close()

    asyncio.run(main())


def test_what_is_urgent_does_not_queue(sshd: SshServer) -> None:
    async def main() -> None:
        transport = transport_to(sshd)
        busy = [asyncio.create_task(transport.run("sleep 3", timeout_seconds=20)) for _ in range(ssh.SESSIONS)]
        await asyncio.sleep(0.5)
        begun = time.monotonic()
        await transport.run("true", timeout_seconds=10, is_urgent=True)
        assert time.monotonic() - begun < 1
        for task in busy:
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)
        await transport.close()

    asyncio.run(main())


def test_a_node_that_reads_slowly_does_not_fill_our_memory(sshd: SshServer, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(256 * 1024 * 1024)

    async def main() -> int:
        transport = transport_to(sshd)
        await transport.run("true", timeout_seconds=10)
        before = psutil.Process().memory_info().rss
        task = asyncio.create_task(transport.run("sleep 20", stdin=source, timeout_seconds=30))
        await asyncio.sleep(1.5)
        grown = psutil.Process().memory_info().rss - before
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await transport.close()
        return grown

    assert asyncio.run(main()) < 32 * 1024 * 1024
