"""What a node answers: the events while it works, and what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from deploys.error_codes import ErrorCode

NOTHING = "-"


@dataclass(frozen=True, kw_only=True)
class OutputLine:
    """A line that a command printed, made safe to show. stream: stdout or stderr."""

    stream: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StepStarted:
    """step: a value of `deploys.states.Step`."""

    step: str


Event = OutputLine | StepStarted


class NodeError(Exception):
    """The node could be spoken to, and could not do it."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StaleFence(Exception):
    """A newer claim holds the deploy root; nothing was done. newest: its fence, 0 when the node did not say."""

    def __init__(self, newest: int) -> None:
        super().__init__(f"claim {newest} is newer")
        self.newest = newest


@dataclass(frozen=True, kw_only=True)
class LastSwitch:
    """The newest switch on the node's record.

    phase: switching (the link may have moved), switched (it has; the restart runs), reverting, done, or refused (the
    link never moved). is_alive: its program still works on it. restart_exit: None when there was no restart (yet).
    """

    fence: int
    release: str
    previous: str
    phase: str
    is_alive: bool
    restart_exit: int | None
    timed_out: bool
    reverted: bool


@dataclass(frozen=True, kw_only=True)
class NodeTruth:
    """current: the release that the link leads to, '' when there is none or it leads elsewhere."""

    current: str = ""
    version: str = ""
    sha256: str = ""
    last: LastSwitch | None = None


@dataclass(frozen=True, kw_only=True)
class Staged:
    """outcome: present (it was whole already), installed, or needs_artifact (no artifact was given to make it of).

    truth: from before. kept_artifact: where on the node the upload was kept, if it was asked for.
    """

    truth: NodeTruth
    outcome: str
    kept_artifact: str | None


@dataclass(frozen=True, kw_only=True)
class CommandOutcome:
    exit_status: int
    timed_out: bool


@dataclass(frozen=True, kw_only=True)
class Switched:
    """outcome: switched, not_whole (nothing has changed), restart_failed.

    previous: the release before, '' when there was none. restart_exit: None when there is no restart command.
    node_seconds: how long each step took, as its events came in.
    """

    outcome: str
    previous: str
    restart_exit: int | None
    timed_out: bool
    reverted: bool
    warnings: tuple[str, ...]
    node_seconds: dict[str, float]


@dataclass
class Answer:
    """The frames of one call by their first word; the last of a kind counts, warnings are kept all."""

    words: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    _step: str = ""
    _step_began: float = 0.0

    def take(self, word: str, rest: str) -> None:
        if word == "warning":
            self.warnings.append(rest)
        elif word in ("step", "over"):
            self._turn_to(rest)
        self.words[word] = rest

    def _turn_to(self, step: str) -> None:
        now = time.monotonic()
        if self._step:
            self.seconds[self._step] = self.seconds.get(self._step, 0.0) + now - self._step_began
        self._step, self._step_began = step, now

    def truth(self) -> NodeTruth:
        if "truth" not in self.words:
            return NodeTruth()
        current, version, sha256 = (_value(word) for word in self.words["truth"].split())
        return NodeTruth(current=current, version=version, sha256=sha256, last=self._last())

    def staged(self) -> Staged:
        return Staged(truth=self.truth(), outcome=self.words["outcome"], kept_artifact=self.words.get("kept"))

    def ended(self) -> CommandOutcome:
        status, late = self.words["ended"].split()
        return CommandOutcome(exit_status=int(status), timed_out=late == "1")

    def switched(self) -> Switched:
        previous, status, late, reverted = self.words.get("switched", f"{NOTHING} {NOTHING} 0 0").split()
        is_good = status in (NOTHING, "0")
        return Switched(
            outcome=self.words.get("outcome") or ("switched" if is_good else "restart_failed"),
            previous=_value(previous),
            restart_exit=_number(status),
            timed_out=late == "1",
            reverted=reverted == "1",
            warnings=tuple(self.warnings),
            node_seconds={step: round(seconds, 6) for step, seconds in self.seconds.items()},
        )

    def _last(self) -> LastSwitch | None:
        if "last" not in self.words:
            return None
        fence, release, previous, phase, status, late, reverted, living = self.words["last"].split()
        return LastSwitch(
            fence=int(fence),
            release=_value(release),
            previous=_value(previous),
            phase=phase,
            is_alive=living == "1",
            restart_exit=_number(status),
            timed_out=late == "1",
            reverted=reverted == "1",
        )


def _value(word: str) -> str:
    return "" if word == NOTHING else word


def _number(word: str) -> int | None:
    return None if word == NOTHING else int(word)
