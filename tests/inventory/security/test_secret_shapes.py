"""What gives a secret away, in the forms it has been seen in; and what must stay as it is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.security.redaction import MASK, LineScrubber, clean_output, scrub

# s3cret stands for what must not come out.
SECRET = [
    # URLs
    "https://h/a,https://u:s3cret@h/b",
    "https://h/a;https://h/?x=s3cret|http://u:s3cret@h",
    "//u:s3cret@h/p",
    "src=//u:s3cret@h/p",
    "http:/u:s3cret@h/p",
    "http:///u:s3cret@h/p",
    r"https:\/\/u:s3cret@h\/p",
    r'{"url":"https:\/\/u:s3cret@h\/p?sig=s3cret"}',
    r"https:\u002f\u002fu:s3cret@h",
    "https:&#x2F;&#x2F;u:s3cret@h&#x2F;p",
    "https%3A%2F%2Fu%3As3cret%40h%2Fp",
    "https%253A%252F%252Fu%253As3cret%2540h%252Fp",
    "next=https%3a%2f%2fh%2fp%3ftoken%3ds3cret",
    "https://u:p/s3cret@h/x",
    "https://u:p?s3cret@h/x",
    "https://s3cret@h/x",
    "postgres://u:s3cret@h1:5432,h2:5432/db",
    "https://h/p?X-Amz-Signature=s3cret&X-Amz-Credential=s3cret",
    "GET /p?X-Amz-Signature=s3cret HTTP/1.1",
    "GET /p?a=1&sig=s3cret HTTP/1.1",
    # headers
    "Cookie: a=s3cret; b=s3cret; c=s3cret",
    "Set-Cookie: sid=s3cret; Path=/; HttpOnly",
    "{'Cookie': 'a=s3cret; b=s3cret', 'Accept': '*/*'}",
    'Authorization: Digest username="u", realm="r", nonce="s3cret", response="s3cret"',
    "Authorization: AWS4-HMAC-SHA256 Credential=s3cret/x, SignedHeaders=host, Signature=s3cret",
    "authorization: Custom s3cret and s3cret",
    r"""curl -H 'Authorization: Digest username="u", response="s3cret"' https://h/p""",
    r'"authorization":"Digest username=\"u\", response=\"s3cret\"","x":1',
    r"{\"Authorization\":\"Digest username=\\\"u\\\", response=\\\"s3cret\\\"\"}",
    '["Authorization", "Digest a=\\"b\\", response=\\"s3cret\\""]',
    '{"name":"Authorization","value":"Basic s3cret"}',
    "('authorization', 'Bearer s3cret')",
    "Proxy-Authorization: Basic s3cret==",
    "map[Authorization:[Bearer s3cret] Accept:[*/*]]",
    r"b'GET / HTTP/1.1\r\nAuthorization: Basic s3cret==\r\nHost: h\r\n'",
    'Digest username="u", response="s3cret"',
    "X-Api-Key: s3cret",
    "PRIVATE-TOKEN: s3cret",
    "JOB-TOKEN: s3cret",
    "X-Vault-Token: s3cret",
    '{"X-Auth-Token": "s3cret"}',
    # names and options
    "password=s3cret",
    "password = s3cret",
    "password: s3cret",
    "DB_PASSWORD=s3cret make",
    'export PGPASSWORD="s3cret and s3cret"',
    "--password s3cret",
    "--password='it'\"'\"'s s3cret'",
    "deploy --token s3cret --verbose",
    "--api-key=s3cret",
    "curl -u user:s3cret https://h",
    "curl --user 'user:s3cret' https://h",
    "sshpass -p s3cret ssh h",
    '{"password":"s3cret and s3cret","user":"u"}',
    r"{\"client_secret\":\"s3cret\"}",
    '{"accessToken": "s3cret"}',
    "aws_secret_access_key = s3cret",
    "AccountName=a;AccountKey=s3cret==;EndpointSuffix=x",
    "Server=h;Password=s3cret;Database=d",
    # tokens by their look
    "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzM2NyZXQifQ.s3cret",
    "cloning with ghp_s3cret0123456789abcdefghij",
    "used glpat-s3cret0123456789abcd",
    "a key: -----BEGIN RSA PRIVATE KEY-----\\ns3cret\\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret\ns3cret\n-----END OPENSSH PRIVATE KEY-----\n",
]
INNOCENT = [
    "listening on port 8080",
    "Basic authentication failed for user x",
    "basic auth off, bearer of news",
    "SyntaxError: Unexpected token: }",
    "JSON.parse: unexpected token < in position 0",
    "token: expired",
    "invalid signature: it does not match",
    "use --token to pass one, or --password and a file",
    "usage: x [--password <password>] [--token $TOKEN]",
    "password=$DB_PASSWORD password=******** secret=None token=<none>",
    "max_token=512 tokens: 15 passwordless: true password_file=/etc/x secret_name: web",
    "PWD=/srv/user-service OLDPWD=/",
    "    token = request.headers.get(name)",
    "see https://example.com/docs/a,b;c@2.0 and https://example.com/, or http://host:port/path?",
    "HTTP://Example.COM/a",
    "https://registry.example/@scope/pkg@1.2.3.tgz",
    "image registry:5000/app:1.2@sha256:0123abcd",
    "https://h/a,https://h/b https:\\/\\/h\\/p https%3A%2F%2Fh%2Fp",
    "// a comment for bob@example.com",
    "mail to bob@example.com, C:\\Users\\x, 50% of a:/b, 1:2, a://, \\\\server\\share",
    "cookie jar full; authorization, authentication and accounting",
    "héllo\twörld 发布 ok \\n \\u00e9 %41 &amp; 100%",
    "-----BEGIN CERTIFICATE----- MIIB -----END CERTIFICATE-----",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample0123456789 comment",
    "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
    '{"level":"info","event":"request_finished","request_id":"7a944afc-6c4e-4788"}',
]


@pytest.mark.parametrize("text", SECRET)
def test_what_gives_a_secret_away_is_masked(text: str) -> None:
    assert "s3cret" not in scrub(text)


@pytest.mark.parametrize("text", SECRET)
def test_also_inside_of_other_text(text: str) -> None:
    assert "s3cret" not in scrub(f"2024-01-15 INFO [x] ran: {text}")
    assert "s3cret" not in scrub(f"> {text}\n< HTTP/1.1 200 OK\nx: {text}")


@pytest.mark.parametrize("text", INNOCENT)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize("text", SECRET)
def test_to_scrub_twice_changes_nothing(text: str) -> None:
    once = scrub(text)

    assert scrub(once) == once


def test_what_follows_a_secret_stays_readable() -> None:
    assert scrub("Authorization: Bearer abc was refused") == f"Authorization: {MASK} was refused"
    assert scrub('{"password":"x y","user":"u"}') == f'{{"password":"{MASK}","user":"u"}}'
    assert scrub("{'Cookie': 'a=b; c=d', 'Accept': '*/*'}") == f"{{'Cookie': '{MASK}', 'Accept': '*/*'}}"
    assert (
        scrub("curl -H 'Authorization: Digest a=\"b\"' https://h/p") == f"curl -H 'Authorization: {MASK}' https://h/p"
    )
    assert scrub("--token abc --verbose") == f"--token {MASK} --verbose"


def test_a_private_key_over_many_lines_is_masked_line_by_line() -> None:
    lines = LineScrubber()
    body = [
        "MIIEpAIBAAKCAQEA" + "s3cret" * 8,
        "s3cretAA==",
        "-----END RSA PRIVATE KEY-----",
        "MIIEpAIBAAKCAQEA is no key",
    ]

    shown = [lines.scrub(line) for line in ["before", "-----BEGIN RSA PRIVATE KEY-----", *body]]

    assert "s3cret" not in "".join(shown)
    assert (shown[0], shown[-1]) == ("before", body[-1])


def test_a_private_key_that_never_ends_does_not_hide_the_rest() -> None:
    lines = LineScrubber()
    lines.scrub("-----BEGIN RSA PRIVATE KEY-----")

    assert lines.scrub("the service has started, all is well") == "the service has started, all is well"
    assert lines.scrub("AAAA") == "AAAA"


HOSTILE = [
    "a", "a.", "://", "a://", "//", "//a:", "a:/", "a:/b:", "bearer ", "basic a", "authorization:", "authorization:'",
    "cookie=\\\"", "'authorization','", "token:", "token=", "token:'", "password=a(", "password:\\'", "--", "--a", "-- ",
    "--token ", "-u ", "-u a", "\\", "\\u", "\\u0041", "%", "%25", "%41", "%5Cu0041", "&", "&amp;", "&#x2f;", "@", "eyJ", "a.eyJ",
    "-----BEGIN RSA PRIVATE KEY-----", "-----BEGIN ", "digest a=", "x-", "\"", "'", "https%3A%2F%2F", "\x1b[", "\x1b]", "\x1b ",
    " ",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_it_takes_linear_time_on_hostile_text(unit: str) -> None:
    """By processor time: the machine may be busy."""
    text = unit * (1_000_000 // len(unit))
    began = time.process_time()
    scrub(text)
    took = time.process_time() - began
    began = time.process_time()
    clean_output(text.encode())
    assert took < 1 and time.process_time() - began < 1


@given(st.lists(st.sampled_from([*HOSTILE, *SECRET, "x", " ", "=", ":", "\n"]), max_size=30).map("".join))
def test_no_text_is_too_odd_for_it(text: str) -> None:
    assert isinstance(scrub(text), str)
