"""What is secret is masked, what is not stays readable."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.security import redaction
from inventory.security.redaction import TOKEN_PREFIX, clean_output, clean_text, redact_url, scrub


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:s3cret@host.example:8443/a/b.tgz?sig=s3cret#s3cret", "https://host.example:8443/a/b.tgz"),
        ("http://a@b:s3cret@host/x", "http://host/x"),
        ("http:/u:s3cret@host/x", "host/x"),
        ("http://[::1]:80/x?s3cret", "http://[::1]:80/x"),
        ("http://[bad/s3cret", "(unreadable URL)"),
        ("http://host/a\nb", "http://host/ab"),
        ("", ""),
    ],
)
def test_it_shows_a_url_without_userinfo_query_and_fragment(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@given(st.text())
def test_it_never_raises_on_any_text(text: str) -> None:
    redact_url(text)
    scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cret-value",
        "{'Authorization': 'Bearer s3cret-value'}",
        '"authorization":"Basic s3cret-value"',
        "proxy-authorization=s3cret-value",
        "curl -H 'Authorization: Token s3cret-value' x",
        "Cookie: sessionid=s3cret-value",
        "used bearer s3cret-value",
        "GET https://u:s3cret-value@h/p failed",
        "see (postgres://u:s3cret-value@h/db) and https://h/p?token=s3cret-value",
        f"token {TOKEN_PREFIX}s3cret-value_1234",
    ],
)
def test_it_masks_what_is_secret_in_a_text(text: str) -> None:
    assert "s3cret" not in scrub(text)


@pytest.mark.parametrize(
    "text", ["listening on port 8080", "cookie jar full", "basic auth off", "a://", "1:2", "héllo\tworld"]
)
def test_it_leaves_other_text_as_it_is(text: str) -> None:
    assert scrub(text) == text


def test_it_scrubs_every_text_inside_a_value() -> None:
    value = {"n": 3, "urls": ["https://h/?s3cret"], "t": ("a", b"b"), "error": ValueError("https://h/?s3cret")}
    assert redaction.scrub_value(value) == {
        "n": 3,
        "urls": ["https://h/"],
        "t": ("a", "b"),
        "error": "ValueError: https://h/",
    }


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        (b"\x1b[31mred\x1b[0m\tok", "red\tok"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bP1$r\x1b\\a\x1b(Bb\x1b7c", "abc"),
        (b"\xc2\x9b31mx", "x"),
        (b"50%\r100%\n", "50%100%"),
        (b"\xff\x00ok\x07\x7f", "\ufffdok"),
        ("a\u202eb\u2028c".encode(), "abc"),
        (b"cut \x1b[3", "cut "),
        ("发布 ok".encode(), "发布 ok"),
    ],
)
def test_it_cleans_what_a_command_printed(output: bytes, shown: str) -> None:
    assert clean_output(output) == shown


@given(st.binary())
def test_it_leaves_no_control_character_in_any_output(output: bytes) -> None:
    assert all(char == "\t" or char.isprintable() or ord(char) > 0x9F for char in clean_output(output))


def test_no_character_that_nobody_sees_or_that_reorders_a_line_is_shown() -> None:
    """Of Unicode's controls and format characters only those are left that have a shape of their own, and the tab."""
    shaped = {0x0600, 0x0601, 0x0602, 0x0603, 0x0604, 0x0605, 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD}
    hieroglyphs_joined = set(range(0x13430, 0x13440))
    unsafe = {point for point in range(0x110000) if unicodedata.category(chr(point)) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    left = {point for point in unsafe if chr(point) in clean_text(f"a{chr(point)}b")}
    assert left - shaped - hieroglyphs_joined == {ord("\t")}
    assert clean_text("\u3164\u115f\u034f") == ""
