"""`RELEASE_OIDC_*`: what is wrong with them is said at the start; what the provider says to them, by `doctor`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from inventory.security.redaction import register_secret, scrub
from releasesite.examinations import EXAMINATIONS
from tests.releasesite.login.oidc_login import configured, provider
from tests.support.lying_provider import SECRET, LyingProvider, lying_provider

__all__ = ("provider",)  # a fixture

WHOLE = {
    "RELEASE_OIDC_ISSUER": "https://login.example.com/realms/company",
    "RELEASE_OIDC_CLIENT_ID": "releases",
    "RELEASE_OIDC_CLIENT_SECRET_FILE": "secret",
    "RELEASE_OIDC_OPERATOR_GROUPS": "sre, operators",
}
SHOW = (
    "from releasesite import environment; found = environment.read().oidc; "
    "print(found and (found, [found.roles_of(frozenset({g})) for g in ('sre', 'other')]))"
)


def start(folder: Path, code: str = SHOW, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "secret").write_text(f"{SECRET}\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RELEASE_OIDC")}
    environment = {**kept, **variables, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def test_what_is_whole_is_taken_and_shows_no_secret(tmp_path: Path) -> None:
    done = start(tmp_path, **WHOLE)

    assert "name='login.example.com'" in done.stdout
    assert "[frozenset({'operator'}), frozenset()]" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert start(tmp_path).stdout.strip() == "None"


def test_the_secret_is_masked_wherever_it_turns_up() -> None:
    for secret in configured("https://login.example.com", proxy="http://user:pass-phrase@proxy:3128").secrets:
        register_secret(secret)

    assert SECRET not in scrub(f"the client's secret is {SECRET}.")
    assert "pass-phrase" not in scrub("a proxy's pass-phrase")


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "http": ({"RELEASE_OIDC_ISSUER": "http://login.example.com"}, "RELEASE_OIDC_ISSUER must look like"),
    "a query": ({"RELEASE_OIDC_ISSUER": "https://login.example.com/?x=1"}, "RELEASE_OIDC_ISSUER must look like"),
    "no client": ({"RELEASE_OIDC_CLIENT_ID": ""}, "RELEASE_OIDC_CLIENT_ID is needed with RELEASE_OIDC_ISSUER"),
    "no secret": ({"RELEASE_OIDC_CLIENT_SECRET_FILE": ""}, "RELEASE_OIDC_CLIENT_SECRET_FILE is needed with"),
    "no such file": ({"RELEASE_OIDC_CLIENT_SECRET_FILE": "none"}, "names a file that cannot be read: No such file"),
    "no role": ({"RELEASE_OIDC_OPERATOR_GROUPS": ""}, "is needed with RELEASE_OIDC_ISSUER: no group gives a role"),
    "no certificate": ({"RELEASE_OIDC_CA_FILE": "secret"}, "RELEASE_OIDC_CA_FILE names a file that cannot be used"),
    "no proxy": ({"RELEASE_OIDC_PROXY": "socks5://proxy"}, "RELEASE_OIDC_PROXY must look like"),
}


def test_what_is_wrong_stops_the_start_with_a_line_that_names_the_variable(tmp_path: Path) -> None:
    code = f"""
import os
from releasesite import environment
for name, (changed, _said) in {WRONG!r}.items():
    os.environ.update({WHOLE!r} | changed)
    try:
        environment.read()
        print(name, "is taken")
    except SystemExit:
        os.environ.update(dict.fromkeys(changed, ""))
"""
    done = start(tmp_path, code)

    assert done.stdout == ""
    assert [told for _changed, told in WRONG.values() if told not in done.stderr] == []


def found() -> list[str]:
    [examination] = [each for each in EXAMINATIONS if each.number == 15]
    return [f"{finding.verdict.value} {finding.said}" for finding in examination.findings()]


def test_doctor_asks_the_provider(provider: LyingProvider) -> None:
    assert found() == [f"ok The identity provider {provider.issuer} answers, and takes our client id and secret"]


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "PKCE": ({"code_challenge_methods_supported": ["plain"]}, "note http://{} knows no PKCE with S256."),
    "algorithm": (
        {"id_token_signing_alg_values_supported": ["HS256"]},
        "BAD http://{} signs in ways that we don't take",
    ),
    "issuer": ({"issuer": "https://login.example.org"}, "BAD http://{} calls itself https://login.example.org"),
}


@pytest.mark.parametrize(("document", "said"), LIES.values(), ids=LIES.keys())
def test_doctor_says_what_is_wrong_with_the_provider(
    provider: LyingProvider, document: dict[str, Any], said: str
) -> None:
    provider.document = document

    assert found()[0].startswith(said.format(f"127.0.0.1:{provider.port}"))


def test_doctor_says_that_the_secret_is_not_taken_or_open_to_all(
    provider: LyingProvider, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o644)
    monkeypatch.setenv("RELEASE_OIDC_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    provider.answers = {"/token": (401, {"Content-Type": "application/json"}, b'{"error": "invalid_client"}')}

    assert found() == [
        f"note {tmp_path / 'secret'} can be read by every account here.",
        f"BAD {provider.issuer} refuses client 'releases' with its secret: invalid_client.",
    ]


def test_doctor_says_that_the_provider_is_away(provider: LyingProvider, settings: Settings) -> None:
    with lying_provider() as other:
        settings.OIDC = configured(other.issuer)

    assert found()[0].startswith(f"BAD {other.issuer} cannot be reached: ")


def test_without_a_provider_doctor_says_nothing_of_one(settings: Settings) -> None:
    settings.OIDC = None

    assert found() == []
