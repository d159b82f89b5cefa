"""What a node answers: the events while it works, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypedDict

from deploys.error_codes import ErrorCode
from deploys.told import Telling, english
from inventory.nodes.grammar import kilobytes
from inventory.nodes.state import Reading, reading
from inventory.nodes.transports.base import shown

NOTHING = "-"
# The node sends more, so that it is looked through for secrets as a whole.
LONGEST_SAID = 300
# For a release before: `current` led to something else, which the node remembers.
ELSEWHERE = "@elsewhere"


@dataclass(frozen=True, kw_only=True)
class OutputLine:
    """A line that a command printed, made safe to show. stream: stdout or stderr."""

    stream: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StepStarted:
    """step: a value of `deploys.states.Step`."""

    step: str


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An older claim's program is in the middle of a switch, which is waited for. ending: '' at first, then ended or killed."""

    fence: int
    pid: int = 0
    seconds: int = 0
    ending: str = ""


@dataclass(frozen=True, kw_only=True)
class CommandEnded:
    """The command whose step is in progress has ended, and all of its output has come. seconds: by the node's clock."""

    exit_status: int
    timed_out: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Linked:
    """`current` was moved, or back. before: '' when it had led to no release, ELSEWHERE for what the node remembers."""

    before: str
    now: str


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The version command has said the new release's version."""


@dataclass(frozen=True, kw_only=True)
class Removed:
    """By the clean-up. releases: their names, cut when they are very many."""

    count: int
    releases: str


Event = OutputLine | StepStarted | Waiting | CommandEnded | Linked | Verified | Removed


class NodeError(Exception):
    """The node could be spoken to, and could not do it."""

    def __init__(self, code: ErrorCode, told: Telling) -> None:
        super().__init__(english(told))
        self.code = code
        self.told = told

    @property
    def message(self) -> str:
        """In English."""
        return str(self)


class StaleFence(Exception):
    """A newer claim holds the deploy root; nothing was done. newest: its fence, 0 when the node did not say."""

    def __init__(self, newest: int) -> None:
        super().__init__(f"claim {newest} is newer")
        self.newest = newest


@dataclass(frozen=True, kw_only=True)
class Switch:
    """One switch of a deploy root: what the node answers to it, or the newest on the node's record.

    phase: switching (the link may have moved), switched (it has; the restart runs), confirming (it waits to be confirmed, so
    many seconds still as seconds_left says, or none any more), reverting, done, refused (the link never moved), or, in an
    answer alone, not_intact (nothing has changed). is_alive: its program still works on it.
    previous: the release before, '' when there was none, ELSEWHERE when `current` led to something else. restart_exit: None
    when there was no restart (yet). was_stopped: an abort has ended the restart, or what came after it.
    is_mismatch: the version command has not named the new version in its time; said: what it said at last, '' for nothing.
    not_confirmed: in time; taken_back: before its time was over.
    back: how the way back went, '' when there was none: restarted (back_exit and back_timed_out tell how), gone (there was
    no release any more to go back to), unlinked (`current` did not go back; back_problem: why, if the node said so).
    found: of not_intact, what others have changed, a word and a path (`deploys.node.refusals`). current: what `current`
    leads to, when the node was asked or refused.
    """

    fence: int
    release: str
    previous: str
    phase: str
    is_alive: bool
    restart_exit: int | None
    timed_out: bool
    reverted: bool
    warnings: tuple[str, ...] = ()
    was_stopped: bool = False
    is_mismatch: bool = False
    said: str = ""
    back: str = ""
    back_exit: int | None = None
    back_timed_out: bool = False
    back_problem: str = ""
    found: str = ""
    current: Reading | None = None
    found_release: str = ""
    found_elsewhere: str = ""
    not_confirmed: bool = False
    taken_back: bool = False
    seconds_left: int = 0

    @property
    def is_waiting(self) -> bool:
        """The node waits for its confirmation, and will go back by itself."""
        return self.phase == "confirming" and self.is_alive

    @property
    def is_unconfirmed(self) -> bool:
        """It waits to be confirmed, or its way back, which was begun for want of that, is not over."""
        is_on_its_way_back = self.phase == "reverting" and (self.not_confirmed or self.taken_back)
        return self.phase == "confirming" or is_on_its_way_back

    @property
    def has_way_back_failed(self) -> bool:
        return self.back == "unlinked" or (self.back == "restarted" and self.back_exit != 0)

    @property
    def release_before(self) -> str:
        """'' when there was none, or something else than a release."""
        return "" if self.previous == ELSEWHERE else self.previous

    @property
    def before(self) -> str:
        """What was before, in words: a release, or where `current` led and may lead again."""
        if self.previous != ELSEWHERE:
            return f"'{self.previous}'"
        return self.found_elsewhere or "what `current` led to before"

    @property
    def has_restarted(self) -> bool:
        """The restart, if there was one, ended well: what failed came after it."""
        return self.restart_exit in (0, None) and not self.timed_out

    @property
    def outcome(self) -> str:
        """switched, confirming, restart_failed, version_mismatch, unconfirmed, not_intact or refused; unfinished while it is
        not done.

        restart_failed: or an abort has ended what came after the restart.
        """
        if self.phase in ("not_intact", "refused", "confirming"):
            return self.phase
        if self.phase != "done":
            return "unfinished"
        if self.is_mismatch:
            return ErrorCode.VERSION_MISMATCH
        if self.not_confirmed or self.taken_back:
            return "unconfirmed"
        has_failed = self.reverted or self.was_stopped or not self.has_restarted
        return "restart_failed" if has_failed else "switched"


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """What sync reads too: current is its release, '' when there is none or the link leads elsewhere."""

    current: str = ""
    version: str = ""
    sha256: str = ""
    last: Switch | None = None


@dataclass(frozen=True, kw_only=True)
class Staged:
    """outcome: present (it was intact already), installed, needs_artifact (no artifact was given to make it of), or no_base: what
    was sent is a part, and the node could not make the release of that and the one it was to be made of; no_base: why, as
    `refusals.base_told` reads it. is_sent: what it is made of, or was to be, has come over the wire.

    state: from before. kept_artifact: where on the node the upload was kept, if it was asked for. unfit: why one that is there
    was not taken, as `refusals.found_there` reads it; "" when none is there. way: how what it is made of came: sent, fetched by
    the node itself, or kept there.
    """

    state: NodeState
    outcome: str
    kept_artifact: str | None
    unfit: str
    way: Literal["sent", "fetched", "kept"]
    no_base: str = ""
    is_sent: bool = False


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a deploy would meet. outcome: of the release's folder: present (ours and intact), unfit (ours, to be staged anew),
    absent, or theirs. missing: tools, unwritable and no_link: paths, '' for none. free_kilobytes: None when the node does not
    say; mount: which of its disks that is.
    """

    outcome: str
    missing: str
    unwritable: str
    no_link: str
    free_kilobytes: int | None
    mount: str
    current: Reading | None


@dataclass(frozen=True, kw_only=True)
class CommandOutcome:
    """changed: the first of the release's files that the command has changed, or ""."""

    exit_status: int
    timed_out: bool
    changed: str


@dataclass
class Answer:
    """The frames of one call by their first word; the last of a kind counts, warnings are kept all."""

    words: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def take(self, word: str, rest: str) -> None:
        if word == "warning":
            self.warnings.append(rest)
        if word == "current":
            self.words.pop("elsewhere", None)
        self.words[word] = rest

    def current(self) -> Reading | None:
        """What `current` leads to, if the node said so."""
        if "current" not in self.words:
            return None
        return reading(self.words["current"], self.words.get("elsewhere", ""))

    def state(self) -> NodeState:
        read = self.current()
        if read is None:
            return NodeState()
        return NodeState(current=read.release, version=read.version, sha256=read.sha256, last=self._last())

    def staged(self, way: Literal["sent", "fetched", "kept"]) -> Staged:
        return Staged(
            way=way,
            state=self.state(),
            outcome=self.words["outcome"],
            kept_artifact=self.words.get("kept"),
            unfit=self.words.get("unfit", ""),
            no_base=self.words.get("base", ""),
            is_sent=way != "kept" and "step" in self.words,
        )

    def checked(self) -> Checked:
        return Checked(
            outcome=self.words["outcome"],
            missing=self.words.get("missing", ""),
            unwritable=self.words.get("unwritable", ""),
            no_link=self.words.get("nolink", ""),
            free_kilobytes=kilobytes(self.words.get("room", "")),
            mount=self.words.get("room", "").partition(" ")[2],
            current=self.current(),
        )

    def ended(self) -> CommandOutcome:
        status, late = self.words["ended"].split()
        return CommandOutcome(exit_status=int(status), timed_out=late == "1", changed=self.words.get("restamped", ""))

    def switch(self, *, fence: int, release: str) -> Switch:
        """Of the switch that was asked for: the answer does not repeat whose it is, nor to what."""
        words = self.words.get("switched", f"{NOTHING} {NOTHING} 0 0 {NOTHING} 0").split()
        previous, status, late, reverted, *back = words
        return Switch(
            fence=fence,
            release=release,
            previous=value_of(previous),
            phase=self.words.get("outcome", "confirming" if "unconfirmed" in self.words else "done"),
            is_alive="unconfirmed" in self.words,
            seconds_left=int(self.words.get("unconfirmed", 0)),
            restart_exit=_number(status),
            **self._late(late),
            reverted=reverted == "1",
            warnings=tuple(self.warnings),
            back_problem=self.words.get("unlinked", ""),
            found=self.words.get("found", ""),
            current=self.current(),
            **self._before(),
            **_back(*back),
        )

    def _late(self, late: str) -> _Late:
        said = shown(self.words.get("said", ""), LONGEST_SAID)
        return _Late(
            timed_out=late == "1",
            was_stopped=late == "2",
            is_mismatch=late == "3",
            not_confirmed=late == "4",
            taken_back=late == "5",
            said=said,
        )

    def _before(self) -> _Found:
        kind, _, what = self.words.get("before", "").partition(" ")
        return _Found(
            found_release=what if kind == "release" else "", found_elsewhere=what if kind == "elsewhere" else ""
        )

    def _last(self) -> Switch | None:
        if "last" not in self.words:
            return None
        fence, release, previous, phase, status, late, reverted, living, *back = self.words["last"].split()
        return Switch(
            fence=int(fence),
            release=value_of(release),
            previous=value_of(previous),
            phase=phase,
            is_alive=living == "1",
            seconds_left=int(self.words.get("unconfirmed", 0)),
            restart_exit=_number(status),
            **self._late(late),
            reverted=reverted == "1",
            warnings=tuple(self.warnings),
            current=self.current(),
            **self._before(),
            **_back(*back),
        )


class _Late(TypedDict):
    timed_out: bool
    was_stopped: bool
    is_mismatch: bool
    not_confirmed: bool
    taken_back: bool
    said: str


class _Found(TypedDict):
    found_release: str
    found_elsewhere: str


class _WayBack(TypedDict):
    back: str
    back_exit: int | None
    back_timed_out: bool


def _back(status: str, late: str) -> _WayBack:
    if status in ("gone", "unlinked"):
        return _WayBack(back=status, back_exit=None, back_timed_out=False)
    back = "" if status == NOTHING else "restarted"
    return _WayBack(back=back, back_exit=_number(status), back_timed_out=late == "1")


def value_of(word: str) -> str:
    """'' for the program's word for nothing."""
    return "" if word == NOTHING else word


def _number(word: str) -> int | None:
    return None if word == NOTHING else int(word)
