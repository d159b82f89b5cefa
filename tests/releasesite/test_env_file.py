"""The environment file is read as systemd reads it, which is asked itself: its own tool reads such a file too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from releasesite.env_file import parse, passed_over

# In a name that /etc/os-release may hold: systemd reads that with the same parser, and systemd-tmpfiles writes it out (%B).
CASES = {
    r"BUILD_ID=pa$$w0rd&b": r"pa$$w0rd&b",
    "BUILD_ID=  spaced  out  ": "spaced  out",
    "BUILD_ID='a b  '": "a b  ",
    r'BUILD_ID="q \" \$x \a \\ `"': r'q " $x \a \ `',
    'BUILD_ID=a"b"c': 'a"b"c',
    "BUILD_ID='a''b' c": "abc",
    "BUILD_ID=it's": "it's",
    "BUILD_ID=a \\\n  b": "a   b",
    'BUILD_ID="a\\\nb"': "ab",
    "BUILD_ID='a\nb'": "a\nb",
    "BUILD_ID=a\\ ": "a ",
    r"BUILD_ID=a\\b\n": r"a\bn",
    "# c\n;d\n  BUILD_ID = x": "x",
    "BUILD_ID=x # no comment": "x # no comment",
    "export BUILD_ID=x": "",
    "no equals sign\nBUILD_ID=y": "y",
    "BUILD_ID=1\nBUILD_ID=2": "2",
    'BUILD_ID="unfinished': "unfinished",
    "BUILD_ID=x\r\nA=b\r\n": "x",
    "BUILD_ID=a=b==": "a=b==",
    "BUILD_ID=\\  x": "  x",
    "BUILD_ID=é#;x": "é#;x",
    "BUILD_ID=": "",
}


def as_systemd_reads_it(text: str, root: Path) -> str:
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "os-release").write_text(f"ID=x\n{text}", newline="")
    rule = root / "rule.conf"
    rule.write_text("f /out 0644 - - - >%B<\n")
    subprocess.run(("systemd-tmpfiles", "--create", f"--root={root}", str(rule)), check=True, capture_output=True)
    return (root / "out").read_text()[1:-1]


def test_every_value_is_the_one_that_systemd_reads(tmp_path: Path) -> None:
    ours = {text: parse(text).get("BUILD_ID", "") for text in CASES}
    theirs = {text: as_systemd_reads_it(text, tmp_path / str(number)) for number, text in enumerate(CASES)}

    assert ours == CASES
    assert theirs == CASES


def test_a_file_for_a_shell_is_told_from_one_for_systemd() -> None:
    assert passed_over("A=1\nexport B=2\n# export C=3\n") == ["export B"]


def command(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL" and "RELEASE" not in name}
    return subprocess.run(
        (sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *argv),
        env={**kept, "DJANGO_SETTINGS_MODULE": "releasesite.settings", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


SHOW = "from django.conf import settings as s; print(s.WORKERS, s.DATABASES['default']['PASSWORD'], s.CONCURRENCY)"


def test_commands_take_their_configuration_from_it_and_what_is_set_already_wins(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(
        f"DATABASE_URL=postgres://me:pa$$w0rd%26b@127.0.0.1:1/x\nRELEASE_WORKERS=3\nRELEASE_CONCURRENCY=7\n"
        f"RELEASE_DATA_DIR={tmp_path}\n"
    )

    done = command("shell", "--no-imports", "-c", SHOW, RELEASE_ENV_FILE=str(file), RELEASE_WORKERS="5")

    assert done.stdout.splitlines()[-1] == "5 pa$$w0rd&b 7", done.stderr


@pytest.mark.parametrize("name", ["missing", "closed"])
def test_a_file_that_cannot_be_read_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()

    done = command("check", RELEASE_ENV_FILE=str(tmp_path / name), RELEASE_DATA_DIR=str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.startswith(f"RELEASE_ENV_FILE names {tmp_path / name}, which cannot be read (")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "argv", [("create_token", "x", "--scope", "read"), ("password",), ("web",), ("worker",)], ids=str
)
def test_where_nothing_is_configured_a_command_says_so_and_makes_no_database(
    argv: tuple[str, ...], tmp_path: Path
) -> None:
    done = command(*argv, RELEASE_ENV_FILE=os.devnull, RELEASE_DATA_DIR=str(tmp_path / "data"))

    assert done.returncode == 1
    assert done.stderr == (
        f"DATABASE_URL is not set, and {tmp_path / 'data'} has no embedded database: set it in {os.devnull} "
        "(RELEASE_ENV_FILE); `make run` makes one for trying it out\n"
    )
    assert not (tmp_path / "data" / "postgres").exists()


def test_static_files_are_collected_without_leaving_a_secret_or_a_folder(tmp_path: Path) -> None:
    options = ("--no-input", "--dry-run", "--verbosity=0")

    done = command("collectstatic", *options, RELEASE_ENV_FILE=os.devnull, RELEASE_DATA_DIR=str(tmp_path / "data"))

    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "data").exists()
