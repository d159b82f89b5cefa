"""SSH certificates, made by ssh-keygen: ours beside the key, and servers' by one authority."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from inventory.nodes.transports.base import HostKeyMismatch, NodeUnreachable
from inventory.nodes.transports.ssh import SshTransport
from tests.inventory.nodes.transports.conftest import ssh_address
from tests.support.sshd import SshServer, ssh_server
from tests.support.tcp_proxy import tcp_proxy


@dataclass(frozen=True, kw_only=True)
class Authority:
    """The keys that sign, and the server that believes in them alone."""

    folder: Path
    server: SshServer
    user_key: Path

    def sign_user(self, *, validity: str = "-1h:+1h", principal: str | None = None) -> None:
        principal = principal or self.server.user
        _keygen("-s", self.folder / "user_ca", "-I", "worker", "-n", principal, "-V", validity, f"{self.user_key}.pub")

    def sign_host(self, *, validity: str = "-1h:+1h", principal: str = "127.0.0.1", by: str = "host_ca") -> None:
        key = self.server.folder / "host_key.pub"
        _keygen("-s", self.folder / by, "-h", "-I", "node", "-n", principal, "-V", validity, key)

    @property
    def host_ca(self) -> str:
        return "@cert-authority " + " ".join((self.folder / "host_ca.pub").read_text().split()[:2])


def _keygen(*arguments: str | Path) -> None:
    subprocess.run(("ssh-keygen", "-q", *map(str, arguments)), check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with ssh_server(options=["TrustedUserCAKeys none", "HostCertificate none"]) as server:
        for name in ("user_ca", "host_ca", "other_ca", "worker"):
            _keygen("-t", "ed25519", "-N", "", "-f", server.folder / name)
        configuration = server.folder / "sshd_config"
        text = configuration.read_text().replace(
            "TrustedUserCAKeys none", f"TrustedUserCAKeys {server.folder}/user_ca.pub"
        )
        configuration.write_text(
            text.replace("HostCertificate none", f"HostCertificate {server.folder}/host_key-cert.pub")
        )
        (server.folder / "authorized_keys").write_text("")
        made = Authority(folder=server.folder, server=server, user_key=server.folder / "worker")
        made.sign_host()
        made.sign_user()
        restart(made)
        yield made


@pytest.fixture
def signed(authority: Authority) -> Authority:
    authority.sign_user()
    authority.sign_host()
    return authority


def restart(authority: Authority) -> None:
    """sshd reads its certificate once."""
    authority.server.stop()
    authority.server.start()


def log_in(authority: Authority, *, key: Path | None = None, **changed: object) -> None:
    async def main() -> None:
        address = ssh_address(authority.server, **changed)
        transport = SshTransport(address, key_file=str(key or authority.user_key))
        try:
            assert (await transport.run("echo here", timeout_seconds=10)).stdout == b"here\n"
        finally:
            await transport.close()

    asyncio.run(main())


def test_it_logs_in_with_the_certificate_beside_the_key(signed: Authority) -> None:
    log_in(signed)


def test_a_renewed_certificate_is_used_at_once(signed: Authority) -> None:
    """The key's own file stays as it is."""
    stamp = signed.user_key.stat().st_mtime_ns
    signed.sign_user(principal="somebody-else")
    with pytest.raises(NodeUnreachable, match="refuses the login"):
        log_in(signed)

    signed.sign_user()

    log_in(signed)
    assert signed.user_key.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("validity", "told"),
    [("20240101:20240115", "expired on 2024-01-1"), ("20990101:20990115", "is not valid before 20")],
)
def test_a_certificate_out_of_its_time_is_said_as_such(signed: Authority, validity: str, told: str) -> None:
    signed.sign_user(validity=validity)

    with pytest.raises(NodeUnreachable) as caught:
        log_in(signed)

    assert f"the SSH certificate {signed.user_key}-cert.pub {told}" in caught.value.message


def test_a_certificate_that_can_not_be_read_is_said_as_such(signed: Authority) -> None:
    Path(f"{signed.user_key}-cert.pub").write_text("ssh-ed25519-cert-v01@openssh.com AAAA\n")

    with pytest.raises(NodeUnreachable, match=r"-cert\.pub can't be read"):
        log_in(signed)


def test_an_expired_certificate_does_no_harm_where_the_key_itself_is_known(
    signed: Authority, sshd: SshServer, tmp_path: Path
) -> None:
    key = shutil.copy(sshd.private_key, tmp_path / "key")
    shutil.copy(f"{sshd.private_key}.pub", f"{key}.pub")
    _keygen("-s", signed.folder / "user_ca", "-I", "old", "-n", "x", "-V", "20240101:20240115", f"{key}.pub")

    async def main() -> None:
        transport = SshTransport(ssh_address(sshd), key_file=str(key))
        await transport.run("true", timeout_seconds=10)
        await transport.close()

    asyncio.run(main())


def test_a_server_with_a_certificate_of_the_authority_is_believed(signed: Authority) -> None:
    restart(signed)

    log_in(signed, ssh_host_key=signed.host_ca)
    log_in(signed)  # its plain key too, where that is pinned


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"principal": "web-1.example"}, "a certificate that is not good"),
        ({"validity": "20240101:20240115"}, "a certificate that is not good"),
        ({"by": "other_ca"}, "but the inventory expects a certificate by ssh-ed25519 SHA256:"),
    ],
)
def test_another_name_another_time_and_another_authority_are_refused(
    signed: Authority, made: dict[str, str], told: str
) -> None:
    signed.sign_host(**made)
    restart(signed)
    before = signed.server.log

    with tcp_proxy(signed.server.port) as wire, pytest.raises(HostKeyMismatch) as caught:
        log_in(signed, ssh_port=wire.port, ssh_host_key=signed.host_ca)

    assert told in caught.value.message
    assert "nothing was sent" in caught.value.message
    assert "publickey" not in signed.server.log.removeprefix(before)


def test_a_server_without_a_certificate_shows_its_key_and_is_refused(signed: Authority, sshd: SshServer) -> None:
    with pytest.raises(HostKeyMismatch, match=r"shows ssh-ed25519 SHA256:.* expects a certificate by"):
        log_in(signed, ssh_port=sshd.port, ssh_host_key=signed.host_ca)
