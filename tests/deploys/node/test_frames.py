from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploys.node.excerpt import CUT, END_LINES, LONGEST_LINE, START_LINES
from deploys.node.frames import CAP_BYTES, LONGEST_SCRUBBED_BYTES, Streams
from inventory.security import redaction
from inventory.security.registered_secrets import RegisteredSecrets

MARK = "\x1e0123456789abcdef"


class Heard:
    def __init__(self) -> None:
        self.frames: list[str] = []
        self.lines: list[tuple[str, str]] = []
        self.cuts: list[str] = []
        self.over: list[tuple[int, bool, float] | None] = []
        self.streams = Streams(
            mark=MARK,
            most_commands=1000,
            on_frame=self.frames.append,
            on_line=lambda stream, text: self.lines.append((stream, text)),
            on_cut=self.cuts.append,
            on_command_over=self.over.append,
        )

    def out(self, data: bytes) -> None:
        self.streams.feed("stdout", data)

    def err(self, data: bytes) -> None:
        self.streams.feed("stderr", data)


def frame(words: str) -> bytes:
    return f"{MARK} {words}\n".encode()


def test_frames_and_lines_come_in_their_order_however_the_bytes_are_cut() -> None:
    wire = (
        frame("step restart")
        + frame("command 1 2 3")
        + b"one\ntwo"
        + frame("end 0 0 5")
        + frame("outcome x")
        + frame("over")
    )
    for seed in range(200):
        pieces = random.Random(seed)
        heard = Heard()
        at = 0
        while at < len(wire):
            size = pieces.randint(1, 12)
            heard.out(wire[at : at + size])
            at += size
        heard.err(frame("end 0 0 5"))
        assert heard.frames == ["step restart", "command 1 2 3", "outcome x", "over"]
        assert heard.lines == [("stdout", "one"), ("stdout", "two")]
        assert heard.streams.is_done()


def test_a_frame_written_into_the_middle_of_another_is_found() -> None:
    heard = Heard()
    inner, outer = frame("switched - 0 0 0"), frame("end 0 0 5")
    heard.out(frame("command 1 2 3") + b"text" + outer[:9] + inner + outer[9:] + frame("over"))
    heard.err(frame("end 0 0 5"))
    assert heard.frames == ["command 1 2 3", "switched - 0 0 0", "over"]
    assert heard.lines == [("stdout", "text")]
    assert heard.streams.is_done()


def test_a_command_can_not_forge_a_frame_without_the_nonce() -> None:
    heard = Heard()
    heard.out(b"\x1e0123 over\n\x1efedcba9876543210 over\n")
    assert heard.frames == []
    assert not heard.streams.is_over()


def test_what_only_begins_like_a_frame_is_shown_when_its_line_ends() -> None:
    heard = Heard()
    heard.out(f"{MARK} a\x1eb\nnext\n".encode())
    assert heard.frames == []
    assert [text for _, text in heard.lines] == ["0123456789abcdef ab", "next"]


def test_it_is_not_done_while_output_of_either_stream_is_under_way() -> None:
    heard = Heard()
    heard.out(frame("command 1 2 3") + frame("end 0 0 5") + frame("over"))
    assert heard.streams.is_over()
    assert not heard.streams.is_done()
    heard.err(b"late\n" + frame("end 0 0 5"))
    assert heard.streams.is_done()
    assert heard.lines == [("stderr", "late")]


def test_a_stream_is_cut_at_its_cap_with_a_mark_and_the_next_command_starts_afresh() -> None:
    heard = Heard()
    heard.out(frame("command 1 2 3"))
    for number in range(40):
        heard.out(b"%079d\n" % number + b"y" * 65_456)
    assert heard.cuts == ["stdout"]
    assert heard.lines[-1] == ("stdout", CUT)
    assert sum(len(text) for _, text in heard.lines[:-1]) <= CAP_BYTES
    heard.out(b"\nthe end\n" + frame("end 0 0 5"))
    heard.err(frame("end 0 0 5"))
    assert heard.lines[-1] == ("stdout", "the end")
    assert sum(len(text) for _, text in heard.lines) <= CAP_BYTES + 2 * LONGEST_SCRUBBED_BYTES
    heard.out(frame("command 1 4 5") + b"again\n" + frame("end 0 0 5") + frame("over"))
    assert heard.lines[-1] == ("stdout", "again")
    heard.err(frame("end 0 0 5"))
    assert heard.streams.is_done()


def test_equal_lines_in_a_row_are_counted() -> None:
    heard = Heard()
    for piece in (b"a\n" * 500, b"a\n" * 500, b"b\nb\nb\n", b"\n" * 1_000_000, b"c\n"):
        heard.out(piece)
    heard.streams.finish()
    assert [text for _, text in heard.lines] == [
        *("a", "a", "… 998 more like it"),
        *("b", "b", "b"),
        *("", "", "… 999,998 more like it"),
        "c",
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40)), max_size=300), st.integers(1, 500))
def test_every_line_is_shown_or_counted_and_in_its_order(runs: list[tuple[int, int]], size: int) -> None:
    printed = [str(number) for number, count in runs for _ in range(count)]
    wire = "".join(f"{line}\n" for line in printed).encode()
    heard = Heard()
    for at in range(0, len(wire), size):
        heard.out(wire[at : at + size])
    heard.streams.finish()
    assert unfolded([text for _, text in heard.lines]) == printed


def test_of_very_many_lines_start_and_end_are_kept_with_one_mark_between() -> None:
    heard = Heard()
    heard.out(frame("command 1 2 3") + b"".join(b"%d\n" % number for number in range(100_000)))
    assert len(heard.lines) == START_LINES
    heard.out(frame("end 0 0 5"))
    shown = [text for _, text in heard.lines]
    assert heard.cuts == []
    assert shown[:START_LINES] == [str(number) for number in range(START_LINES)]
    assert shown[START_LINES] == f"[{100_000 - START_LINES - END_LINES:,} lines left out]"
    assert shown[START_LINES + 1 :] == [str(number) for number in range(100_000 - END_LINES, 100_000)]


def test_nothing_is_left_out_that_would_have_fitted() -> None:
    heard = Heard()
    count = START_LINES + END_LINES
    heard.out(b"".join(b"%d\n" % number for number in range(count)))
    heard.streams.finish()
    assert [text for _, text in heard.lines] == [str(number) for number in range(count)]


def test_the_end_holds_no_more_than_a_bounded_number_of_bytes() -> None:
    heard = Heard()
    heard.out(b"x" * 100_000 + b"\n" + b"y" * 1_000_000 + b"\n")
    heard.out(b"".join(b"%d" % number * 10_000 + b"\n" for number in range(100)))
    before = len(heard.lines)
    heard.streams.finish()
    assert sum(len(text) for _, text in heard.lines[before:]) <= LONGEST_SCRUBBED_BYTES


def unfolded(lines: list[str]) -> list[str]:
    found: list[str] = []
    for line in lines:
        if line.endswith(" more like it"):
            found += [found[-1]] * int(line.split()[1].replace(",", ""))
        else:
            found.append(line)
    return found


@pytest.mark.parametrize("output", [b"\x1e", b"\x1e0"], ids=["starts of a frame", "and one character more"])
def test_what_begins_like_a_frame_again_and_again_costs_no_more_than_other_output(output: bytes) -> None:
    assert cost(output) < 4 * cost(b"xx") + 0.1


def cost(output: bytes) -> float:
    """Seconds of this process's own, so that a busy machine does not count."""
    heard, chunk = Heard(), output * (32 * 1024 // len(output))
    began = time.process_time()
    for _ in range(128):
        heard.out(chunk)
    return time.process_time() - began


def test_a_line_without_end_comes_in_pieces() -> None:
    heard = Heard()
    heard.out(b"z" * (3 * LONGEST_LINE + 5))
    heard.streams.finish()
    assert [len(text) for _, text in heard.lines] == [LONGEST_LINE] * 3 + [5]


def test_binary_and_terminal_escapes_become_text_that_is_safe_to_show() -> None:
    heard = Heard()
    heard.out(b"\x1b[31mred\x1b[0m \xff\xfe\x00\x07end\r\n 10%\r 55%\r100%\n\n")
    assert [text for _, text in heard.lines] == ["red \ufffd\ufffdend", "100%", ""]


def test_an_empty_line_stays_and_a_last_line_needs_no_newline() -> None:
    heard = Heard()
    heard.err(b"a\n\nb")
    heard.streams.finish()
    assert heard.lines == [("stderr", "a"), ("stderr", ""), ("stderr", "b")]


SECRET = "wZ7+q/K9%mTx&4Lr"


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    registered = RegisteredSecrets()
    registered.add(SECRET)
    monkeypatch.setattr(redaction, "_registered", registered)


def parts_of(secret: str) -> set[str]:
    return {secret[at : at + 4] for at in range(len(secret) - 3)}


@pytest.mark.parametrize("edge", [LONGEST_LINE, LONGEST_SCRUBBED_BYTES, 2 * LONGEST_SCRUBBED_BYTES, CAP_BYTES])
def test_no_cut_of_ours_lets_a_part_of_a_secret_through(secret: None, edge: int) -> None:
    for before in range(len(SECRET) + 1):
        heard = Heard()
        heard.out(b"." * (edge - before) + SECRET.encode() + b"." * LONGEST_SCRUBBED_BYTES)
        heard.streams.finish()
        shown = "\n".join(text for _, text in heard.lines)
        assert not [part for part in parts_of(SECRET) if part in shown], before


def test_a_header_longer_than_a_line_of_ours_is_masked_to_its_end() -> None:
    heard = Heard()
    heard.out(b"Cookie: a=" + b"x" * LONGEST_LINE + b"; b=s3cret\nnext\n")
    assert [text for _, text in heard.lines] == ["Cookie: [redacted]", "next"]


def test_escape_sequences_inside_of_a_secret_do_not_hide_it(secret: None) -> None:
    heard = Heard()
    heard.out(f"{SECRET[:5]}\x1b[1m{SECRET[5:9]}\x1b]0;t\x07\u202e{SECRET[9:]}\n".encode())
    assert heard.lines == [("stdout", "[redacted]")]


def test_a_private_key_is_masked_and_what_follows_it_is_not() -> None:
    heard = Heard()
    heard.out(b"-----BEGIN RSA PRIVATE KEY-----\nMIIs3cret\ns3cretAA==\n-----END RSA PRIVATE KEY-----\nMII\n")
    shown = [text for _, text in heard.lines]
    assert "s3cret" not in "".join(shown)
    assert shown[-1] == "MII"


KEY = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"MIIs3cretA\nMIIs3cretB\n" * 20 + b"-----END RSA PRIVATE KEY-----\n"


def test_a_private_key_is_masked_wherever_the_end_of_the_output_begins() -> None:
    for lines_behind in (0, 5, END_LINES - 20, END_LINES - 1):
        heard = Heard()
        heard.out(b"".join(b"%d\n" % number for number in range(START_LINES + 5)) + KEY)
        heard.out(b"".join(b"%d\n" % number for number in range(lines_behind)))
        heard.streams.finish()
        assert "s3cret" not in "".join(text for _, text in heard.lines)
        assert heard.lines[-1] != ("stdout", "[redacted]") or not lines_behind


def test_what_follows_a_gap_may_be_the_end_of_a_secret(secret: None) -> None:
    gap = frame("gap")
    for taken in range(1, len(KEY) - 8, 60):
        heard = Heard()
        heard.out(b"x" * (CAP_BYTES + 1) + SECRET[:6].encode() + gap + SECRET[6:].encode() + b" and more\n")
        heard.out(b"y\n" + gap + SECRET[6:].encode() + b" and more\n" + gap + KEY[taken:] + b"behind it\n")
        heard.streams.finish()
        shown = "".join(text for _, text in heard.lines)
        assert "s3cret" not in shown
        assert not [part for part in parts_of(SECRET) if part in shown]
        assert heard.lines[-1] == ("stdout", "behind it")


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(0, 40))
def test_a_secret_is_masked_however_the_bytes_come_in(around: list[bytes], size: int) -> None:
    registered = RegisteredSecrets()
    registered.add(SECRET)
    wire = b"\n".join((*around, b"<" + SECRET.encode() + b">", b""))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(redaction, "_registered", registered)
        heard = Heard()
        for at in range(0, len(wire), size + 1):
            heard.out(wire[at : at + size + 1])
        heard.streams.finish()
    assert ("stdout", "<[redacted]>") in heard.lines
