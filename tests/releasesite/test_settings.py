from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
OF_THIS_RUN = ("DATABASE_URL", "SECRET_KEY", "DEBUG", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "DJANGO_SETTINGS_MODULE")
WRONG = {
    "ALLOWED_HOSTS": "https://releases.example.com",
    "CSRF_TRUSTED_ORIGINS": "releases.example.com",
    "DATABASE_URL": "mysql://root:s3cret-word@db/release",
    "DEBUG": "perhaps",
    "RELEASE_CONCURRENCY": "0",
    "RELEASE_DATA_DIR": "/proc/version/var",
    "RELEASE_LOCAL_NODES": "perhaps",
    "RELEASE_PACKAGE_HOSTS": "https://packages.example.com/",
    "RELEASE_PACKAGE_MAX_BYTES": "2 GiB",
    "RELEASE_PUBLIC_URL": "https://user:word@releases.example.com",
    "RELEASE_REAUTH_ABOVE": "-1",
    "RELEASE_SECRETS_FILE": "/nowhere/secrets",
    "RELEASE_SSH_KEY_FILE": "/nowhere/id_ed25519",
    "RELEASE_TRUSTED_PROXIES": "10.0.0.0/33",
    "RELEASE_WORKERS": "two",
}


def run(folder: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in OF_THIS_RUN and "RELEASE" not in name}
    environment = {
        **kept,
        "RELEASE_DATA_DIR": str(folder),
        "RELEASE_ENV_FILE": os.devnull,
        "DJANGO_SETTINGS_MODULE": "releasesite.settings",
    }
    return subprocess.run(
        (sys.executable, "-c", f"from django.conf import settings; {code}"),
        cwd=CHECKOUT,
        env={**environment, **variables},
        capture_output=True,
        text=True,
    )


def shown(folder: Path, expression: str, **variables: str) -> str:
    done = run(folder, f"print({expression})", **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", WRONG)
def test_it_refuses_a_bad_value_in_one_line_that_names_the_variable(name: str, tmp_path: Path) -> None:
    done = run(tmp_path, "settings.DEBUG", **{name: WRONG[name]})

    assert done.returncode == 1
    assert done.stderr.startswith(f"{name} ")
    assert len(done.stderr.splitlines()) == 1


def test_it_names_every_bad_variable_at_once_and_shows_no_secret(tmp_path: Path) -> None:
    done = run(tmp_path, "settings.DEBUG", **WRONG)

    assert [line.split()[0] for line in done.stderr.splitlines()] == sorted(WRONG)
    assert "s3cret-word" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RELEASE_WORKERS", "257", "must be an integer, 1 to 256"),
        ("RELEASE_SYNC_SECONDS", "9", "must be an integer, 10 or more"),
        ("RELEASE_CONCURRENCY", "1.5", "must be an integer, 1 to 10000"),
        ("DEBUG", "2", "must be true or false"),
        ("ALLOWED_HOSTS", "one.example.com, two.example.com:8000", "holds 'two.example.com:8000'"),
        ("RELEASE_PACKAGE_HOSTS", "packages.example.com,https://other/", "holds 'https://other/'"),
        ("DATABASE_URL", "postgres://db.example.com", "must look like postgres://user:password@host:5432/name"),
        ("DATABASE_URL", "release", "must look like postgres://user:password@host:5432/name"),
        ("DATABASE_URL", "postgres://user:pass/word@db:5432/name", "must look like postgres://"),
    ],
)
def test_it_says_what_would_be_right(name: str, value: str, says: str, tmp_path: Path) -> None:
    done = run(tmp_path, "settings.DEBUG", **{name: value})

    assert done.returncode == 1
    assert done.stderr.startswith(f"{name} {says}")
    assert len(done.stderr.splitlines()) == 1


def test_lists_may_hold_spaces_and_empty_items_and_numbers_white_space(tmp_path: Path) -> None:
    variables = {
        "ALLOWED_HOSTS": " one.example.com , two.example.com,,",
        "RELEASE_PACKAGE_HOSTS": "Packages.Example.com,",
        "RELEASE_TRUSTED_PROXIES": "10.0.0.1, fd00::/8",
        "RELEASE_WORKERS": " 3 ",
        "RELEASE_REAUTH_ABOVE": "0",
        "DEBUG": "yes",
    }

    assert shown(tmp_path, "settings.ALLOWED_HOSTS", **variables) == "['one.example.com', 'two.example.com']"
    assert shown(tmp_path, "settings.PACKAGE_HOSTS, settings.TRUSTED_PROXIES", **variables) == (
        "('packages.example.com',) ['10.0.0.1/32', 'fd00::/8']"
    )
    assert shown(tmp_path, "settings.WORKERS, settings.REAUTH_ABOVE, settings.DEBUG", **variables) == "3 0 True"


def test_a_bad_value_stops_gunicorn_itself_and_not_worker_after_worker(tmp_path: Path) -> None:
    done = subprocess.run(
        (sys.executable, "-m", "gunicorn", "releasesite.wsgi", "--bind=127.0.0.1:0"),
        cwd=CHECKOUT,
        env={**os.environ, "RELEASE_WORKERS": "two"},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode != 0
    assert "RELEASE_WORKERS must be an integer, 1 to 256" in done.stderr


def test_without_any_variable_it_is_safe_and_embedded(tmp_path: Path) -> None:
    assert shown(tmp_path, "settings.DEBUG") == "False"
    assert shown(tmp_path, "settings.ALLOWED_HOSTS") == "['localhost', '127.0.0.1', '[::1]']"
    assert shown(tmp_path, "settings.PACKAGE_HOSTS") == "()"
    assert shown(tmp_path, "settings.PACKAGE_MAX_BYTES, settings.WORKERS, settings.CONCURRENCY") == "2147483648 2 100"
    assert shown(tmp_path, "settings.DATABASES['default']['ENGINE']") == "releasesite.embedded_postgres"


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    variables = dict.fromkeys((*WRONG, "SECRET_KEY"), "") | {"RELEASE_DATA_DIR": str(tmp_path)}

    assert shown(tmp_path, "settings.WORKERS, bool(settings.SECRET_KEY)", **variables) == "2 True"


def test_it_takes_the_database_that_it_is_given(tmp_path: Path) -> None:
    database = shown(
        tmp_path,
        "[settings.DATABASES['default'][key] for key in ('ENGINE', 'HOST', 'NAME', 'CONN_HEALTH_CHECKS')]",
        DATABASE_URL="postgres://someone:word@db.example.com:5433/release_db",
    )

    assert database == "['django.db.backends.postgresql', 'db.example.com', 'release_db', True]"


def test_many_processes_agree_on_one_generated_key_that_only_its_owner_can_read(tmp_path: Path) -> None:
    code = "from releasesite.secret_key import stored_secret_key; from pathlib import Path; import sys; "
    code += f"sys.stdin.read(); print(stored_secret_key(Path({str(tmp_path / 'data')!r})))"
    processes = [
        subprocess.Popen(
            (sys.executable, "-c", code), cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    keys = {process.communicate()[0].strip() for process in processes}

    assert len(keys) == 1
    assert len(keys.pop()) >= 50
    assert stat.S_IMODE((tmp_path / "data" / "secret-key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "data") == ["secret-key"]


def test_the_generated_key_stays_and_a_given_one_goes_before_it(tmp_path: Path) -> None:
    first = shown(tmp_path, "settings.SECRET_KEY")

    assert shown(tmp_path, "settings.SECRET_KEY") == first
    assert shown(tmp_path, "settings.SECRET_KEY", SECRET_KEY="given") == "given"


def test_an_https_origin_makes_cookies_secure_and_redirects(tmp_path: Path) -> None:
    names = "settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE, settings.SECURE_SSL_REDIRECT"

    assert shown(tmp_path, names) == "False False False"
    assert shown(tmp_path, names, CSRF_TRUSTED_ORIGINS="https://releases.example.com") == "True True True"


@pytest.mark.parametrize(("given", "expected"), [("", "False"), ("0", "False"), ("1", "True")])
def test_local_nodes_are_allowed_only_where_that_is_said(tmp_path: Path, given: str, expected: str) -> None:
    assert shown(tmp_path, "settings.LOCAL_NODES", RELEASE_LOCAL_NODES=given) == expected
