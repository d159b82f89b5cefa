"""What a transport knows of the jump hosts through which a node is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from inventory.models import JumpHost

# For `select_related`, behind the way to a node; a longer chain costs a query a hop.
LOADED = "jump__jump__jump"


@dataclass(frozen=True, kw_only=True)
class JumpAddress:
    """jump: the one through which this one is reached. ssh_host_key: as `NodeAddress` has it."""

    name: str
    host: str
    ssh_user: str
    ssh_port: int
    ssh_host_key: str
    jump: JumpAddress | None = None

    # It listens on a port always; a node may be behind a socket instead.
    jump_socket = ""

    @classmethod
    def of(cls, host: JumpHost) -> Self:
        return cls(
            name=host.name,
            host=host.host,
            ssh_user=host.ssh_user,
            ssh_port=host.ssh_port,
            ssh_host_key=host.ssh_host_key,
            jump=None if host.jump is None else cls.of(host.jump),
        )

    @property
    def chain(self) -> list[JumpAddress]:
        """This one, and those through which it is reached, from the node's end to ours."""
        return [self, *(self.jump.chain if self.jump else ())]
