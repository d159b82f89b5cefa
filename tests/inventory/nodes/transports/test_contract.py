"""What `Transport` promises, asked of every transport."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from inventory.nodes.transports.base import CommandResult, RunTimeout, TransportError
from inventory.nodes.transports.flow import Flow
from tests.inventory.nodes.transports.conftest import Opened


def run(opened: Opened, program: str, *arguments: str, **options: object) -> CommandResult:
    async def main() -> CommandResult:
        async with opened() as transport:
            return await transport.run(program, arguments, **{"timeout_seconds": 20, **options})  # type: ignore[arg-type]

    return asyncio.run(main())


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(path: Path) -> str:
    for _ in range(500):
        if path.exists() and path.read_text().endswith("\n"):
            return path.read_text().strip()
        time.sleep(0.01)
    raise AssertionError(f"{path} never came")


def test_it_returns_the_exit_status_and_both_streams(opened: Opened) -> None:
    result = run(opened, "echo out; echo err >&2; exit 7")
    assert result == CommandResult(exit_status=7, stdout=b"out\n", stderr=b"err\n")


def test_it_says_none_for_a_program_that_a_signal_ended(opened: Opened) -> None:
    assert run(opened, "kill -KILL $$").exit_status is None


def test_it_passes_every_argument_unchanged(opened: Opened) -> None:
    awkward = ["", " ", "a b", "'", '"', "$HOME", "`id`", "*", "a\nb", "\\", "ü", "--", "-n", "\x1e!x"]
    result = run(opened, 'for word; do printf "<%s>" "$word"; done', *awkward)
    assert result.stdout.decode() == "".join(f"<{word}>" for word in awkward)


def test_it_hands_on_output_as_it_comes(opened: Opened) -> None:
    seen: list[tuple[str, bytes, float]] = []
    run(
        opened, "printf one; sleep 0.5; printf two >&2",
        on_output=lambda stream, data: seen.append((stream, data, time.monotonic())),
    )  # fmt: skip
    assert [(stream, data) for stream, data, _ in seen] == [("stdout", b"one"), ("stderr", b"two")]
    assert seen[1][2] - seen[0][2] > 0.3


def test_it_sends_a_file_of_megabytes_whole(opened: Opened, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 4096 * 8)
    result = run(opened, "sha256sum", stdin=source)
    assert result.stdout.split()[0].decode() == _sha256(source)


def test_it_sends_bytes_and_by_default_nothing(opened: Opened) -> None:
    assert run(opened, "cat", stdin=b"hello").stdout == b"hello"
    assert run(opened, "cat").stdout == b""


def test_a_file_that_cannot_be_read_is_an_error_at_once(opened: Opened, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(TransportError, match="No such file"):
        run(opened, "cat", stdin=tmp_path / "gone")
    assert time.monotonic() - begun < 5


def test_it_does_not_mind_a_program_that_leaves_its_stdin_unread(opened: Opened, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(16 * 1024 * 1024))
    assert run(opened, "echo done", stdin=source).stdout == b"done\n"


def test_it_reads_output_to_its_end_and_no_byte_less(opened: Opened) -> None:
    result = run(opened, "head -c 800000 /dev/zero; head -c 200000 /dev/zero >&2")
    assert (len(result.stdout), len(result.stderr)) == (800_000, 200_000)


def test_it_ends_with_the_program_though_a_grandchild_holds_its_stdout(opened: Opened) -> None:
    begun = time.monotonic()
    result = run(opened, "sleep 8 & echo $!")
    assert time.monotonic() - begun < 4
    assert is_alive(int(result.stdout))


def test_it_ends_at_once_when_the_caller_has_all_it_needs(opened: Opened) -> None:
    seen: list[float] = []

    async def main() -> float:
        async with opened() as transport:
            await transport.run(
                "sleep 8 & echo done", on_output=lambda *_: seen.append(time.monotonic()),
                is_done=lambda: bool(seen), timeout_seconds=20,
            )  # fmt: skip
            return time.monotonic()

    assert asyncio.run(main()) - seen[0] < 0.2


def test_it_gives_up_after_its_time_and_kills_the_whole_group(opened: Opened, folder: Path) -> None:
    with pytest.raises(RunTimeout):
        run(opened, f"sleep 60 & echo $! >'{folder}/pid'; echo $$ >'{folder}/own'; wait", timeout_seconds=1)
    deadline = time.monotonic() + 5
    pids = int(wait_for(folder / "pid")), int(wait_for(folder / "own"))
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_alive, pids))


def test_a_cancelled_run_leaves_the_program_running_to_its_end(opened: Opened, folder: Path) -> None:
    script = "trap '' PIPE; echo $$ >own; sleep 1; echo out; echo finished >end"

    async def main() -> None:
        async with opened() as transport:
            task = asyncio.create_task(transport.run(f"cd '{folder}' && {script}", timeout_seconds=20))
            while not (folder / "own").exists():
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert wait_for(folder / "end") == "finished"


def test_an_error_in_the_callers_callback_is_the_callers(opened: Opened) -> None:
    def refuse(stream: str, data: bytes) -> None:
        raise LookupError(stream)

    with pytest.raises(LookupError):
        run(opened, "echo", "hello", on_output=refuse)


def test_many_programs_run_at_once_on_one_node(opened: Opened) -> None:
    async def main() -> float:
        async with opened() as transport:
            begun = time.monotonic()
            results = await asyncio.gather(*(transport.run("sleep 0.3; exit 3", timeout_seconds=20) for _ in range(24)))
            assert {result.exit_status for result in results} == {3}
            return time.monotonic() - begun

    assert asyncio.run(main()) < 5


def test_it_shows_the_program_nothing_of_our_environment(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hush")
    seen = run(opened, "env").stdout.decode()
    assert "PATH=" in seen
    assert "hush" not in seen


def _sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_while_its_flow_is_held_nothing_is_read_and_afterwards_nothing_is_missing(opened: Opened) -> None:
    """Though the program has ended meanwhile, and its last output came longer ago than QUIET_SECONDS."""
    chunks: list[bytes] = []
    flow = Flow()

    def take(_stream: str, data: bytes) -> None:
        chunks.append(data)
        flow.hold("test")

    async def main() -> None:
        async with opened() as transport:
            script = "echo one; sleep 0.2; head -c 150000 /dev/zero; head -c 20000 /dev/zero >&2; echo two"
            running = asyncio.create_task(transport.run(script, timeout_seconds=20, on_output=take, flow=flow))
            await asyncio.sleep(1)
            assert b"".join(chunks) == b"one\n"
            assert not running.done()
            while not running.done():
                flow.release("test")
                await asyncio.sleep(0.01)
            await running

    asyncio.run(main())
    assert b"".join(chunks).replace(b"\0", b"") == b"one\ntwo\n"
    assert sum(map(len, chunks)) == 170_008
