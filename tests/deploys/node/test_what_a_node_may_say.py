"""Whatever a node says, and however its bytes are cut: no exception but the few that are allowed, and little is kept."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
from collections.abc import Callable, Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploys.error_codes import ErrorCode
from deploys.node.answers import CommandEnded, Event, Linked, OutputLine, StepStarted
from deploys.node.calls import node_program
from deploys.node.grammar import STAGE_CODES, TABLES
from deploys.node.session import NodeError, NodeSession, StaleFence
from deploys.states import Step
from inventory.nodes.grammar import survey_table
from inventory.nodes.processes import Process, ask_processes
from inventory.nodes.program import ask
from inventory.nodes.transports.base import (
    MOST_BYTES,
    STDERR,
    STDOUT,
    CommandResult,
    IsDone,
    Login,
    NodeMisbehaved,
    OnOutput,
    Output,
    TransportError,
)
from inventory.nodes.transports.flow import Flow

ALLOWED = (TransportError, NodeMisbehaved, NodeError, StaleFence)
MARK = b"@MARK@"
KIB, MIB = 1024, 1024 * 1024

Chunk = tuple[str, bytes]
Session = Callable[[NodeSession], Coroutine[Any, Any, object]]


class Wire:
    """The outside of the boundary: bytes, cut anywhere, in place of a node. MARK stands for the call's own."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self.login: Login | None = None
        self._chunks = chunks

    async def run(
        self,
        program: str,
        arguments: Sequence[str] = (),
        *,
        stdin: Path | bytes | None = None,
        upload_bytes: int | None = None,
        wanted: asyncio.Event | None = None,
        on_output: OnOutput | None = None,
        timeout_seconds: float,
        is_done: IsDone | None = None,
        is_ready: IsDone | None = None,
        is_urgent: bool = False,
        flow: Flow | None = None,
    ) -> CommandResult:
        output = Output(on_output=on_output, is_done=is_done, flow=None)
        for stream, data in self._chunks:
            output.feed(stream, data.replace(MARK, arguments[0].encode()))
            if output.is_refused:
                break
        output.exited(0)
        output.end(STDOUT, STDERR)
        return await output.result()

    async def close(self) -> None:
        return


def said(*words: str) -> bytes:
    return b"".join(MARK + b" " + each.encode("utf-8", "surrogatepass") + b"\n" for each in words)


async def stage(session: NodeSession, url: str | None = None, remote_artifact: str | None = None) -> object:
    given = {"release": "1.0.0", "version": "1.0.0", "sha256": "ab" * 32, "operation": "op"}
    return await session.stage(
        artifact_path=Path("/dev/null"),
        url=url,
        remote_artifact=remote_artifact,
        timeout_seconds=5,
        **given,  # type: ignore[arg-type]
    )


async def switch(session: NodeSession) -> object:
    return await session.switch(
        release="1.0.0",
        sha256="ab" * 32,
        operation="op",
        restart_command="true",
        timeout_seconds=5,
        keep=[],
        version_command="true",
        version_timeout_seconds=5,
    )


CALLS: dict[str, Session] = {
    "state": lambda session: session.state(),
    "stage": stage,
    "stage, fetched": lambda session: stage(session, "http://x/", "/kept"),
    "check_release": lambda session: session.check_release(release="1.0.0", sha256="ab" * 32),
    "before_switch": lambda session: session.before_switch(release="1.0.0", command="true", timeout_seconds=5),
    "switch": switch,
    "abort": lambda session: session.abort(),
    "forget": lambda session: session.forget("/kept"),
}


def hear(call: str, chunks: Iterable[Chunk], events: list[Event] | None = None) -> object:
    heard: list[Event] = [] if events is None else events

    async def main() -> object:
        return await CALLS[call](NodeSession(Wire(chunks), root="/srv", fence=7, env={}, on_event=heard.append))

    return asyncio.run(main())


# Frames, of which many are right: else nothing would get beyond the first.

_any_word = st.sampled_from(
    ["", "-", "0", "1", "12", "-1", "9" * 40, "1.0.0", "1.0.0@ab", "../x", "done", "release", "é", "٣"]
)
_any_text = st.text(max_size=40) | st.just("x" * 5000)
_names = sorted({name for table in TABLES.values() for name in table} | {"end", "gap", "step", "nonsense"})
_right = st.sampled_from([
    "begun", "over", "end 0 0 5", "end", "gap", "waiting 3 4 5", "waited 3 ended", "found gone /srv", "unlinked why",
    "step stage", "step switch", "step restart", "step revert", "step clean_up",
    "step before_switch",
    "linked - 1.0.0", "linked 1.0.0 0.9", "verified", "removed 2 0.7 0.8", "command 11 12 13",
    "current none - - -", f"current release 1.0.0 1.0.0 {'ab' * 32}",
    "current elsewhere - - -", "last 6 1.0.0 - done 0 0 0 0 - 0", "last 6 1.0.0 0.9 reverting 1 1 1 1 1 0", "outcome installed",
    "outcome present", "outcome theirs", "room 9 /srv", "unwritable /srv", "nolink /srv/current", "missing tar",
    "outcome needs_artifact", "outcome not_intact", "kept /srv/.release/kept.7", "ended 0 0", "ended 1 1",
    "switched - 0 0 0 - 0", "switched 0.9 1 1 1 gone 0", "warning w", "error stale 9", "error internal_error why",
    "error damaged broke off", "error node_disk_full full",
])  # fmt: skip
_wrong = st.builds(
    lambda name, words: " ".join([name, *words]), st.sampled_from(_names), st.lists(_any_word, max_size=9)
)
_texts = st.builds(lambda name, text: f"{name} {text}", st.sampled_from(_names), _any_text)
_frame = st.one_of(_right, _right, _right, _wrong, _texts).map(said)
_piece = st.one_of(
    _frame, _frame, _frame, st.binary(max_size=60), st.just(MARK), st.just(b"\x1e"), st.just(b"x" * 20_000)
)


STARTS = [
    b"",
    said("begun"),
    said("begun", "step switch"),
    said("begun", "step switch", "linked - 1.0.0"),
    said("begun", "current none - - -"),
]


@st.composite
def conversations(draw: st.DrawFn) -> list[Chunk]:
    pieces = draw(st.lists(_piece, max_size=14))
    start = draw(st.sampled_from(STARTS))
    wire = start + b"".join(pieces) + draw(st.sampled_from([b"", said("over")]))
    cuts = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    parts = [wire[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    return [(draw(st.sampled_from([STDOUT, STDOUT, STDOUT, STDERR])), part) for part in parts]


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(sorted(CALLS)), conversations())
def test_arbitrary_frames_end_in_an_answer_or_an_allowed_error(call: str, chunks: list[Chunk]) -> None:
    events: list[Event] = []
    try:
        hear(call, chunks, events)
    except ALLOWED as error:
        message = getattr(error, "message", "")
        assert is_safe(message)
        assert len(message) < 5000
    for event in events:
        match event:
            case OutputLine(text=text):
                assert is_safe(text)
            case StepStarted(step=step):
                assert step in set(Step)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=300)), max_size=10))
def test_arbitrary_bytes_end_in_an_allowed_error(chunks: list[Chunk]) -> None:
    with pytest.raises(ALLOWED):
        hear("switch", chunks)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 3), st.lists(_piece, max_size=6))
def test_a_sync_hears_as_many_readings_as_it_asked_for_or_an_allowed_error(count: int, pieces: list[bytes]) -> None:
    wire = Wire([(STDOUT, b"".join([said("begun"), *pieces, said("over")]))])

    async def main() -> list[tuple[str, str]]:
        return await ask(wire, "survey", ["/srv"] * count, survey_table(count), timeout_seconds=5)

    try:
        assert len(asyncio.run(main())) <= count + 2
    except ALLOWED as error:
        assert is_safe(getattr(error, "message", ""))


def is_safe(text: str) -> bool:
    unsafe = (
        "[\x00-\x08\x0a-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
    )
    return re.search(unsafe, text) is None


# One by one.

HONEST = {
    "state": ["begun", "current none - - -", "over"],
    "stage": ["begun", "current none - - -", "step stage", "outcome installed", "over"],
    "check_release": ["begun", "room 1000 /srv", "current none - - -", "outcome absent", "over"],
    "before_switch": ["begun", "step before_switch", "command 1 2 3", "ended 0 0", "over"],
    "switch": [
        "begun",
        "step switch",
        "linked - 1.0.0",
        "step restart",
        "command 1 2 3",
        "switched - 0 0 0 - 0",
        "over",
    ],
    "abort": ["begun", "over"],
}


@pytest.mark.parametrize("call", HONEST)
def test_an_honest_answer_is_believed(call: str) -> None:
    hear(call, [(STDOUT, said(*HONEST[call]))])


@pytest.mark.parametrize("call", HONEST)
def test_nothing_may_be_missing_before_over_doubled_or_out_of_order(call: str) -> None:
    frames = HONEST[call]
    wrong = [frames[:at] + frames[at + 1 :] for at in range(len(frames) - 1)]
    wrong += [[*frames[: at + 1], frames[at], *frames[at + 1 :]] for at in range(len(frames) - 1)]
    wrong += [[*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]] for at in range(len(frames) - 1)]
    wrong += [[*frames, "over"], [*frames, "warning x"], [*frames[:1], "nonsense", *frames[1:]]]
    # What may be left out: with nothing to restart, or where no step was needed.
    # The program says it twice where it fails.
    allowed = [["begun", "current none - - -", *HONEST["stage"][1:]]]
    for each in wrong:
        if each not in allowed:
            with pytest.raises(NodeMisbehaved):
                hear(call, [(STDOUT, said(*each))])


@pytest.mark.parametrize("code", [
    "command_failed", "command_timeout", "package_unsafe", "worker_lost", "made_up", "x" * 300, "stale", "stale 1e9",
    "stale -1", "stale 99999999999999999999", "internal_error\0", "INTERNAL_ERROR", "", "stale ٣",
])  # fmt: skip
def test_a_code_that_our_program_never_says_is_not_taken(code: str) -> None:
    with pytest.raises(NodeMisbehaved, match="`error` out of form"):
        hear("switch", [(STDOUT, said("begun", "step switch", f"error {code} some\0text", "over"))])


def test_the_text_of_an_error_is_cleaned() -> None:
    text = "a\0b\x1b[31mc\rd\u202ee\x9b1mf\u200bg"
    with pytest.raises(NodeError) as caught:
        hear("switch", [(STDOUT, said("begun", "step switch", f"error switch_failed {text}", "over"))])
    assert caught.value.code == ErrorCode.SWITCH_FAILED
    assert "abcdefg" in caught.value.message


def test_what_it_said_is_named_cut_and_quoted() -> None:
    with pytest.raises(NodeMisbehaved) as caught:
        hear("state", [(STDOUT, said("begun", "current \x1b[2J\0" + "x" * 3000))])
    message = caught.value.message
    assert message.startswith("answered what our program never says (`current` out of form): “current xxx")
    assert len(message) < 300
    assert message.isprintable()


def test_the_table_has_every_code_that_the_program_says_and_no_other() -> None:
    program = node_program()
    codes = set(re.findall(r"(?:fail|give_up_as|code=)\s?([a-z]+_[a-z_]+|damaged)", program))
    codes |= set(re.findall(r"wrong='([a-z_]+)", program))
    assert codes - {"give_up_as"} == set(STAGE_CODES)


def test_the_table_has_every_word_that_the_program_says() -> None:
    words = set(re.findall(r"(?:say|finish)((?: \"[a-z][^\"]*\")+)", node_program()))
    names = {each for said_at_once in words for each in re.findall(r"\"([a-z]+)", said_at_once)}
    known = {name.split()[0] for table in TABLES.values() for name in table}
    assert names - known <= {"missing", "unwritable", "nolink", "room", "theirs", "stuck", "process", "end"}


def test_what_overtakes_the_last_of_a_commands_output_is_told_behind_it() -> None:
    ran = ["begun", "step switch", "linked 0.9 1.0.0", "step restart", "command 1 2 3", "end 3 0 120"]
    back = ["linked 1.0.0 0.9", "step revert", "command 4 5 6"]
    after = ["end 0 0 7", "current none - - -", "switched 0.9 3 0 1 0 0", "over"]
    events: list[Event] = []
    hear("switch", [
        (STDOUT, said(*ran, *back) + b"back\n" + said(*after)),
        (STDERR, b"cause\n" + said("end 3 0 120") + b"too\n" + said("end 0 0 7")),
    ], events)  # fmt: skip
    assert events == [
        StepStarted(step="switch"),
        Linked(before="0.9", now="1.0.0"),
        StepStarted(step="restart"),
        OutputLine(stream="stderr", text="cause"),
        CommandEnded(exit_status=3, timed_out=False, seconds=1.2),
        Linked(before="1.0.0", now="0.9"),
        StepStarted(step="revert"),
        OutputLine(stream="stdout", text="back"),
        OutputLine(stream="stderr", text="too"),
        CommandEnded(exit_status=0, timed_out=False, seconds=0.07),
    ]


# How much is kept.


@pytest.mark.parametrize(
    "frame",
    [
        "warning " + "w" * 3900,
        "waiting 3 4 5",
        "step restart",
        "command 1 2 3",
        "end 0 0 5",
        "gap",
        "current none - - -",
    ],
)
def test_frames_without_end_are_not_kept(frame: str) -> None:
    flood = said(frame) * max(1, 60_000 // len(frame))

    def chunks() -> Iterable[Chunk]:
        yield STDOUT, said("begun", "step switch")
        for _ in range(1000):
            yield STDOUT, flood

    with peak_below(2 * MIB), pytest.raises(NodeMisbehaved):
        hear("switch", chunks())


def test_a_command_that_is_said_to_begin_again_and_again_has_no_more_output() -> None:
    events: list[Event] = []
    line = b"".join(b"%d\n" % number for number in range(10_000))

    def chunks() -> Iterable[Chunk]:
        yield STDOUT, said("begun", "step switch")
        for _ in range(1000):
            yield STDOUT, said("linked - 1.0.0", "step restart", "command 1 2 3") + line + said("end 0 0 5")

    with pytest.raises(NodeMisbehaved):
        hear("switch", chunks(), events)
    assert len(events) < 5000


def test_output_without_a_frame_or_a_newline_is_not_kept() -> None:
    def chunks() -> Iterable[Chunk]:
        for _ in range(1000):
            yield STDOUT, b"x" * 65536

    with peak_below(16 * MIB), pytest.raises(NodeMisbehaved, match=f"more than {MOST_BYTES // MIB} MiB"):
        hear("stage", chunks())


class peak_below:
    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes

    def __enter__(self) -> None:
        tracemalloc.start()

    def __exit__(self, *_error: object) -> None:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < self._most_bytes


PROCESS = Process(root="/srv/x", instance_id="i-1", port=80, service="shop", command="cat version")


def processes_said(*frames: str) -> list[str]:
    wire = Wire([(STDOUT, said("begun", *frames, "over"))])
    return asyncio.run(ask_processes(wire, [PROCESS], timeout_seconds=5))


def test_what_processes_say_is_cleaned_and_cut_and_nothing_is_said_of_others() -> None:
    assert processes_said() == [""]
    assert processes_said("process 0 v\u202e1\x1b[31m token=hunter2-hunter2") == ["v1 token=[redacted]"]
    assert processes_said(f"process 0 {'v' * 1000}") == [f"{'v' * 99}…"]


@pytest.mark.parametrize(
    "frames", [["process 1 v1"], ["process 0 v1", "process 0 v2"], ["process x v1"], ["process 0"]]
)
def test_what_is_said_of_no_process_is_not_believed(frames: list[str]) -> None:
    with pytest.raises(NodeMisbehaved):
        processes_said(*frames)
