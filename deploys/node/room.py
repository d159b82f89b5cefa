"""Whether a deploy would find on a node what it needs: what `check_release` saw, and room for the release. Pure."""

from __future__ import annotations

from collections import Counter

from deploys.error_codes import ErrorCode
from deploys.node.answers import Checked, NodeError
from deploys.node.refusals import refusal

_MIB = 1024 * 1024


class Room:
    """What the releases of one node's instances will take together, disk by disk."""

    def __init__(self) -> None:
        self._promised: Counter[str] = Counter()

    def check(self, checked: Checked, *, root: str, release: str, release_bytes: int, upload_bytes: int) -> None:
        """Raises NodeError for the first of what a deploy would fail for there.

        upload_bytes: what lies on the disk besides, once, while the releases are made.
        """
        _check_root(checked, root=root, release=release)
        if checked.outcome == "present" or checked.free_kilobytes is None:
            return
        self._promised[checked.mount] += release_bytes
        needed, free = self._promised[checked.mount] + upload_bytes, checked.free_kilobytes * 1024
        if needed > free:
            disk = f" ({checked.mount})" if checked.mount else ""
            raise NodeError(
                ErrorCode.NODE_DISK_FULL,
                f"The disk of {root}{disk} has {_mib(free)} free, and this deploy takes about {_mib(needed)} there. "
                "Free some room and retry.",
            )


def _mib(count: int) -> str:
    return f"{count / _MIB:.1f} MiB"


def _check_root(checked: Checked, *, root: str, release: str) -> None:
    if checked.no_link:
        raise NodeError(
            ErrorCode.SWITCH_FAILED,
            f"{checked.no_link} is not our link to a release. What we did not install is never replaced: move it away, "
            "then retry.",
        )
    faults = (
        (ErrorCode.NODE_UNSUITABLE, checked.missing),
        (ErrorCode.NODE_NOT_WRITABLE, checked.unwritable and f"the login may not write {checked.unwritable}"),
        (ErrorCode.RELEASE_EXISTS, checked.outcome == "theirs" and f"{root}/releases/{release}"),
    )
    for code, text in faults:
        if text:
            raise NodeError(code, refusal(code, text, root=root, found="", current=checked.current))
