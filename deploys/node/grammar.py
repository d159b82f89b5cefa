"""What deploys/node/program.sh may say, task by task: see `inventory.nodes.grammar`.

Not here are `end` and `gap`, which a command's readers say, each in its own time (deploys/node/frames.py).
"""

from __future__ import annotations

from collections.abc import Mapping

from deploys.error_codes import ErrorCode
from inventory.nodes.grammar import BEGUN, CURRENT, NUMBER, OVER, RELEASE, TEXT, Frame, Table, check_table, table

# Of program.sh's `fail`; no other code is taken from a node.
CODES: tuple[str, ...] = (
    ErrorCode.INTERNAL_ERROR,
    ErrorCode.NODE_DISK_FULL,
    ErrorCode.NODE_NOT_WRITABLE,
    ErrorCode.NODE_UNSUITABLE,
    ErrorCode.SWITCH_FAILED,
)
STAGE_CODES: tuple[str, ...] = (
    *CODES,
    "damaged",
    ErrorCode.RELEASE_EXISTS,
    ErrorCode.PACKAGE_UNREACHABLE,
    ErrorCode.PACKAGE_CHECKSUM_MISMATCH,
)

_PID = r"[1-9][0-9]{0,9}"
_EXIT = r"[0-9]{1,3}"
_FLAG = "[01]"
# Of a restart: 2 when an abort has ended it or what came after it, 3 when the version command has not named the version, 4 and
# 5 when the switch was not confirmed in time, or taken back before.
_LATE = "[0-5]"
_MAYBE_RELEASE = f"(?:-|@elsewhere|{RELEASE})"
_MAYBE_EXIT = f"(?:-|{_EXIT})"
# How a way back went: EXIT LATE.
_BACK = f"(?:-|gone|unlinked|{_EXIT}) {_FLAG}"
# FENCE RELEASE PREVIOUS PHASE EXIT LATE REVERTED LIVING, and the way back.
_LAST = (
    rf"[1-9][0-9]{{0,18}} {RELEASE} {_MAYBE_RELEASE} (?:switching|switched|confirming|reverting|done|refused) "
    rf"{_MAYBE_EXIT} {_LATE} {_FLAG} {_FLAG} {_BACK}"
)
_FOUND = f"(?:gone|no_folder|closed|changed|folder|file) {TEXT}"
# Why a release can't be made of another one.
_BASE = f"(?:gone|no_folder|closed|changed|restamped|lacks|differs) {TEXT}"
_COMMAND = f"{_PID} {_PID} {_PID}"
# `warn` in program.sh says no more.
_MOST_WARNINGS = 50
# Older claims, each of which was found in mid-switch.
_MOST_WAITS = 1000

_WAITS = ("waiting", "waited")
# What `current` leads to, and where, when that is no release.
_CURRENT = ("current", "elsewhere")
# What `_last` brings.
_LAST_NAMES = ("last", "said", "unconfirmed", "before")
# What a switch says last of the commands that it runs, after its link or the one of its way back.
_RAN = ("linked", "command", "step verify", "said", "verified")
_LINKED = f"{_MAYBE_RELEASE} {_MAYBE_RELEASE}"
# By the clean-up.
_REMOVED = f"{NUMBER} {TEXT}"


def _waits(*after: str) -> tuple[Frame, Frame]:
    """What the claiming of a root says, behind these frames."""
    return (
        Frame(name="waiting", rest=f"{NUMBER} {_PID} {NUMBER}", most=_MOST_WAITS, after=(*after, *_WAITS)),
        Frame(name="waited", rest=f"{NUMBER} (?:ended|killed)", most=_MOST_WAITS, after=("waiting",)),
    )


def _elsewhere(most: int = 1) -> Frame:
    return Frame(name="elsewhere", rest=TEXT, most=most, after=("current",))


# What another tool had installed before a switch.
_BEFORE = rf"(?:release {RELEASE}|elsewhere {TEXT})"


# How many seconds a switch waits still to be confirmed.
_UNCONFIRMED = "[0-9]{1,5}"


def _last() -> tuple[Frame, ...]:
    """The newest switch on record, behind what `current` leads to."""
    return (
        Frame(name="last", rest=_LAST, after=_CURRENT),
        Frame(name="said", rest=TEXT, after=("last",)),
        Frame(name="unconfirmed", rest=_UNCONFIRMED, after=("last", "said")),
        Frame(name="before", rest=_BEFORE, after=("last", "said", "unconfirmed")),
    )


def _error(codes: tuple[str, ...], *after: str) -> Frame:
    return Frame(
        name="error", rest=rf"(?:stale {NUMBER}|(?:{'|'.join(codes)})(?: {TEXT})?)", after=(*after, *_CURRENT, "found")
    )


_BEGUN = Frame(name=BEGUN, after=())
_NOTHING = table(_BEGUN, Frame(name=OVER, after=(BEGUN,)))

TABLES: Mapping[str, Table] = {
    "state": table(
        _BEGUN,
        Frame(name="current", rest=CURRENT, after=(BEGUN,)),
        _elsewhere(),
        *_last(),
        Frame(name=OVER, after=(*_CURRENT, *_LAST_NAMES)),
    ),
    "stage": table(
        _BEGUN,
        *_waits(BEGUN),
        # From before, and with an error once more.
        Frame(
            name="current",
            rest=CURRENT,
            most=2,
            after=(BEGUN, *_WAITS, *_CURRENT, *_LAST_NAMES, "unfit", "step stage", "kept"),
        ),
        _elsewhere(most=2),
        *_last(),
        Frame(name="unfit", rest=_FOUND, after=(*_CURRENT, *_LAST_NAMES)),
        Frame(name="base", rest=_BASE, after=(*_CURRENT, *_LAST_NAMES, "unfit", "step stage")),
        Frame(name="step stage", after=(*_CURRENT, *_LAST_NAMES, "unfit")),
        Frame(name="kept", rest=rf"/{TEXT}", after=("step stage",)),
        Frame(name="outcome", rest="(?:present|needs_artifact)", after=(*_CURRENT, *_LAST_NAMES, "unfit")),
        Frame(name="outcome no_base", after=("base",)),
        Frame(name="outcome installed", after=("step stage", "kept")),
        Frame(name="found", rest=_FOUND, after=_CURRENT),
        _error(STAGE_CODES, BEGUN, *_WAITS, *_LAST_NAMES, "unfit", "step stage", "kept"),
        Frame(name=OVER, after=("outcome", "outcome no_base", "outcome installed", "error")),
    ),
    "check_release": {
        **check_table(1),
        **table(
            Frame(name="current", rest=CURRENT, after=("room",)),
            _elsewhere(),
            Frame(name="outcome", rest="(?:present|unfit|absent|theirs)", after=_CURRENT),
            Frame(name=OVER, after=("outcome",)),
        ),
    },
    "before_switch": table(
        _BEGUN,
        *_waits(BEGUN),
        Frame(name="step before_switch", after=(BEGUN, *_WAITS)),
        Frame(name="command", rest=_COMMAND, after=("step before_switch",)),
        Frame(name="restamped", rest=TEXT, after=("command",)),
        Frame(name="ended", rest=f"{_EXIT} {_FLAG}", after=("command", "restamped")),
        Frame(name="current", rest=CURRENT, after=(BEGUN, *_WAITS, "command")),
        _elsewhere(),
        Frame(name="found", rest=_FOUND, after=_CURRENT),
        _error(CODES, BEGUN, *_WAITS, "command"),
        Frame(name=OVER, after=("ended", "error")),
    ),
    "switch": table(
        _BEGUN,
        Frame(name="step switch", after=(BEGUN,)),
        *_waits("step switch"),
        Frame(name="current", rest=CURRENT, after=("step switch", *_WAITS, *_RAN, "unlinked", "warning")),
        # And back.
        Frame(name="linked", rest=_LINKED, most=2, after=("step switch", *_WAITS, "command", "step verify", "said")),
        _elsewhere(),
        Frame(name="found", rest=_FOUND, after=_CURRENT),
        Frame(name="outcome", rest="not_intact", after=("found",)),
        Frame(name="step restart", after=("linked",)),
        Frame(name="step verify", after=("linked", "command")),
        Frame(name="said", rest=TEXT, after=("step verify",)),
        Frame(name="verified", after=("step verify",)),
        Frame(name="unlinked", rest=TEXT, after=_RAN),
        Frame(name="step revert", after=("linked", "warning")),
        Frame(name="command", rest=_COMMAND, most=2, after=("step restart", "step revert")),
        Frame(name="step clean_up", after=(*_RAN, "warning")),
        Frame(name="removed", rest=_REMOVED, after=("step clean_up", "warning")),
        Frame(
            name="warning",
            rest=TEXT,
            most=_MOST_WARNINGS,
            after=(*_RAN, "unlinked", "step confirm", "step clean_up", "removed", "warning"),
        ),
        Frame(
            name="before",
            rest=_BEFORE,
            after=(*_RAN, "unlinked", "step confirm", "step clean_up", "removed", "warning", *_CURRENT),
        ),
        Frame(name="step confirm", after=_RAN),
        Frame(name="unconfirmed", rest=_UNCONFIRMED, after=("step confirm", "warning", "before")),
        Frame(
            name="switched",
            rest=f"{_MAYBE_RELEASE} {_MAYBE_EXIT} {_LATE} {_FLAG} {_BACK}",
            after=(*_RAN, "unconfirmed", "step clean_up", "removed", "warning", *_CURRENT, "before"),
        ),
        _error(CODES, "step switch", *_WAITS),
        Frame(name=OVER, after=("outcome", "switched", "error")),
    ),
    "conclude": table(
        _BEGUN,
        Frame(name="step confirm", after=(BEGUN,)),
        *_waits("step confirm"),
        Frame(name="linked", rest=_LINKED, after=("step confirm", *_WAITS)),
        Frame(name="step revert", after=("linked", "warning")),
        Frame(name="command", rest=_COMMAND, after=("step revert",)),
        Frame(name="unlinked", rest=TEXT, after=("step confirm", *_WAITS)),
        Frame(name="step clean_up", after=("step confirm", *_WAITS, "warning")),
        Frame(name="removed", rest=_REMOVED, after=("step clean_up", "warning")),
        Frame(
            name="warning",
            rest=TEXT,
            most=_MOST_WARNINGS,
            after=("step confirm", *_WAITS, "linked", "command", "unlinked", "step clean_up", "removed", "warning"),
        ),
        # What it says when it is through; or before an error.
        Frame(
            name="current",
            rest=CURRENT,
            after=("step confirm", *_WAITS, "linked", "command", "unlinked", "step clean_up", "removed", "warning"),
        ),
        _elsewhere(),
        *_last(),
        Frame(name="found", rest=_FOUND, after=_CURRENT),
        _error(CODES, "step confirm", *_WAITS),
        Frame(name=OVER, after=(*_CURRENT, *_LAST_NAMES, "error")),
    ),
    "abort": _NOTHING,
    "mute": _NOTHING,
    "forget": _NOTHING,
}


def most_commands(table: Table) -> int:
    """How many commands a call runs: each has an `end`, and maybe a `gap`, on either stream."""
    return table["command"].most if "command" in table else 0
