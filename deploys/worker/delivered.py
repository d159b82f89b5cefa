"""How a release came onto a node."""

from __future__ import annotations

from dataclasses import dataclass

from deploys.node.answers import Staged


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """sent_bytes: over the wire, of all tries, and full_bytes: of the artifact; 0 for what was there already.

    base: the release on the node that it was made of; "" when it was made of all of the artifact.
    """

    staged: Staged
    sent_bytes: int = 0
    full_bytes: int = 0
    base: str = ""

    @property
    def is_there(self) -> bool:
        return self.staged.outcome in ("present", "installed")
