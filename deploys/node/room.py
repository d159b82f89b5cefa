"""Whether a deploy would find on a node what it needs: what `check_release` saw, and room for the release. Pure."""

from __future__ import annotations

from collections import Counter

from deploys.error_codes import ErrorCode
from deploys.node.answers import Checked, NodeError
from deploys.node.refusals import NOT_OURS, refusal, refused
from deploys.told import Told
from deploys.told import marked as _

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
            where = f"{root} ({checked.mount})" if checked.mount else root
            raise NodeError(ErrorCode.NODE_DISK_FULL, (_too_little(where, free=free, needed=needed),))


def _too_little(where: str, *, free: int, needed: int) -> Told:
    return Told(
        _(
            "The disk of %(where)s has %(free)s free, and this deploy takes about %(needed)s there. Free some room and retry."
        ),
        {"where": where, "free": _mib(free), "needed": _mib(needed)},
    )


def _mib(count: int) -> str:
    return f"{count / _MIB:.1f} MiB"


def _check_root(checked: Checked, *, root: str, release: str) -> None:
    if checked.no_link:
        raise NodeError(
            ErrorCode.SWITCH_FAILED,
            (
                Told(_("%(path)s is not our link to a release."), {"path": checked.no_link}),
                Told(NOT_OURS, {"path": checked.no_link}),
            ),
        )
    if checked.missing:
        code = ErrorCode.NODE_UNSUITABLE
        raise NodeError(code, refusal(code, checked.missing, root=root, found="", current=checked.current))
    if checked.unwritable:
        what = Told(
            _("%(root)s can't be written: the login may not write %(path)s."),
            {"root": root, "path": checked.unwritable},
        )
        code = ErrorCode.NODE_NOT_WRITABLE
        raise NodeError(code, refused(code, what, current=checked.current))
    if checked.outcome == "theirs":
        code, path = ErrorCode.RELEASE_EXISTS, f"{root}/releases/{release}"
        raise NodeError(code, refusal(code, path, root=root, found="", current=checked.current))
