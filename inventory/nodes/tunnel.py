"""What makes a node dial out: a unit on the node, and an account on its jump host that may make that one socket.

sshd has no way to name in authorized_keys which sockets a key may make: `permitlisten` is about ports alone (OpenSSH 9.2: with it
any socket is let through). So each node gets an account of its own, and a folder where no other account may make one.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from inventory.nodes.transports.base import NodeAddress
from inventory.nodes.transports.jump_address import JumpAddress
from inventory.validation import CERT_AUTHORITY, is_authority

NODE_FOLDER = "/etc/release-tunnel"
PUBLIC_KEY = f"(the line of {NODE_FOLDER}/key.pub, made on the node)"
_MAX_ACCOUNT_CHARS = 32


@dataclass(frozen=True, kw_only=True)
class Tunnel:
    """account: on the jump host, this node's alone. public_key: the node's own, `ssh-ed25519 AAAA…`."""

    node: str
    node_port: int
    socket: str
    jump: JumpAddress
    account: str
    public_key: str = PUBLIC_KEY

    @classmethod
    def of(cls, node: NodeAddress, *, account: str = "", public_key: str = "") -> Tunnel:
        """Of a node with a jump host and a socket there."""
        assert node.jump is not None
        return cls(
            node=node.name,
            node_port=node.ssh_port,
            socket=node.jump_socket,
            jump=node.jump,
            account=account or account_for(node.name),
            public_key=public_key or PUBLIC_KEY,
        )

    @property
    def folder(self) -> str:
        return posixpath.dirname(self.socket)

    @property
    def unit(self) -> str:
        """/etc/systemd/system/release-tunnel.service on the node."""
        return f"""\
[Unit]
Description=Way in for releases to {self.node}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart={self.ssh_command}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""

    @property
    def ssh_command(self) -> str:
        options = (
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={NODE_FOLDER}/known_hosts",
            "ExitOnForwardFailure=yes",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=3",
        )
        given = " ".join(f"-o {option}" for option in options)
        way = f"-R {self.socket}:localhost:{self.node_port} {self.account}@{self.jump.host}"
        return f"/usr/bin/ssh -N -T -F none {given} -i {NODE_FOLDER}/key -p {self.jump.ssh_port} {way}"

    @property
    def known_hosts(self) -> str:
        """known_hosts beside the node's key: the jump host's key as the inventory has it."""
        host = self.jump.host if self.jump.ssh_port == 22 else f"[{self.jump.host}]:{self.jump.ssh_port}"
        key = self.jump.ssh_host_key.removeprefix(CERT_AUTHORITY).strip()
        return f"{CERT_AUTHORITY} {host} {key}\n" if is_authority(self.jump.ssh_host_key) else f"{host} {key}\n"

    @property
    def authorized_key(self) -> str:
        """Of the account: it forwards, and runs nothing."""
        return f'restrict,port-forwarding,command="/bin/false" {self.public_key}\n'

    @property
    def sshd_settings(self) -> str:
        """What that forwarding may be: sockets towards us; no port, no way on from the jump host.

        `AllowTcpForwarding no` would forbid the sockets as well.
        """
        return f"""\
Match User {self.account}
    AllowStreamLocalForwarding remote
    AllowTcpForwarding remote
    PermitListen none
    AllowAgentForwarding no
    X11Forwarding no
    PermitTTY no
    PermitTunnel no
    ForceCommand /bin/false
    StreamLocalBindUnlink yes
    StreamLocalBindMask 0117
    ClientAliveInterval 15
    ClientAliveCountMax 3
"""

    @property
    def tmpfiles(self) -> str:
        """/run is empty after each start. Setgid, so that the socket is for the group of the jump host's login."""
        return f"d {self.folder} 2710 {self.account} {self.jump.ssh_user} -\n"


def account_for(node: str) -> str:
    """An account's name that Linux takes, whatever the node is called."""
    return f"tunnel-{re.sub(r'[^a-z0-9_-]', '-', node.lower())}"[:_MAX_ACCOUNT_CHARS]
