"""Credentials and authorities by host, and the way out through a proxy: real servers, and what they were sent."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.config import Config
from pytest_django.fixtures import Settings

from deploys.packages import download, fetch, sources
from deploys.packages.errors import PackageError
from deploys.packages.proxy import Proxy
from inventory.security.redaction import scrub
from tests.support.connect_proxy import Asked, connect_proxy
from tests.support.package_builder import package, sha256
from tests.support.package_host import Behaviour, PackageHost
from tests.support.ports import accepts, free_port
from tests.support.tls import SecureHost, self_signed, serving_securely
from tests.support.worker import wait_for

CONTENT = package({"a": os.urandom(300_000)})
SECRET = "canary-of-the-source-7f3a"
AUTHORIZED = {
    "basic": ({"user": "release", "password": SECRET}, "Authorization", b"release:" + SECRET.encode()),
    "bearer": (SECRET, "Authorization", b""),
    "header": ({"name": "X-JFrog-Art-Api", "value": SECRET}, "X-JFrog-Art-Api", b""),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(["localhost"], tmp_path_factory.mktemp("ca") / "private.pem")


@pytest.fixture
def host(tmp_path: Path, certificate: Path) -> Iterator[SecureHost]:
    with serving_securely(tmp_path / "one", certificate) as host:
        yield host


@pytest.fixture
def other(tmp_path: Path, certificate: Path) -> Iterator[SecureHost]:
    with serving_securely(tmp_path / "two", certificate) as host:
        yield host


@pytest.fixture(autouse=True)
def in_the_settings(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, host: SecureHost, other: SecureHost
) -> None:
    settings.DATA_DIR = tmp_path
    settings.PACKAGE_HOSTS = (host.netloc, other.netloc)
    settings.SOURCES_FILE = str(tmp_path / "sources.yaml")
    settings.PACKAGE_PROXY = None
    monkeypatch.setattr(fetch, "PATIENCE", download.Patience(deadline_seconds=20, failures=2, first_pause_seconds=0.01))


@pytest.fixture
def write(settings: Settings) -> Any:
    def write(entries: Mapping[str, Any] | str, *, mode: int = 0o600) -> Path:
        path = Path(settings.SOURCES_FILE)
        path.write_text(entries if isinstance(entries, str) else yaml.safe_dump(dict(entries)))
        path.chmod(mode)
        return path

    return write


def sent(host: PackageHost) -> str:
    """Every header that it was ever sent."""
    return json.dumps([dict(request.headers) for request in host.requests])


def decoded(value: str) -> bytes:
    return base64.b64decode(value.removeprefix("Basic "))


# What is sent, and to whom.


@pytest.mark.parametrize("kind", AUTHORIZED)
def test_the_host_gets_its_credentials_over_tls_of_its_own_authority(
    kind: str, host: SecureHost, certificate: Path, write: Any
) -> None:
    given, header, inner = AUTHORIZED[kind]
    write({host.netloc: {kind: given, "ca_file": str(certificate)}})
    url = host.add("p.tar.gz", CONTENT)
    host.behave("p.tar.gz", Behaviour(cut_after=200_000, times=1))

    assert fetch.fetch(url).sha256 == sha256(CONTENT)

    first, rest = host.requests
    for request in (first, rest):
        value = request.headers[header]
        assert decoded(value) == inner if inner else SECRET in value
    assert rest.headers["Range"] == "bytes=200000-", "and it goes on where it broke off"
    assert SECRET not in scrub(f"the host said {first.headers[header]} and {SECRET}")


def test_without_its_authority_the_host_is_not_believed(host: SecureHost, write: Any) -> None:
    write({host.netloc: {"bearer": SECRET}})

    with pytest.raises(PackageError, match="certificate is not valid"):
        fetch.fetch(host.add("p.tar.gz", CONTENT))

    assert not host.requests


@pytest.mark.parametrize("kind", AUTHORIZED)
def test_nothing_is_sent_after_a_redirect_to_another_host_nor_on_the_way_back(
    kind: str, host: SecureHost, other: SecureHost, certificate: Path, write: Any
) -> None:
    """The other has an entry of its own: a URL of the first must not be a way into the second, either."""
    ca = {"ca_file": str(certificate)}
    write({host.netloc: {kind: AUTHORIZED[kind][0], **ca}, other.netloc: {"bearer": "canary-of-another", **ca}})
    host.add("last", CONTENT)
    other.behave("middle", Behaviour(redirect_to=host.url("last")))
    host.behave("first", Behaviour(redirect_to=other.url("middle")))

    assert fetch.fetch(host.url("first")).sha256 == sha256(CONTENT)

    (first,), (last,) = host.requests_for("first"), host.requests_for("last")
    assert AUTHORIZED[kind][1] in first.headers
    assert AUTHORIZED[kind][1] not in last.headers
    assert not {"Authorization", AUTHORIZED[kind][1]} & other.requests[0].headers.keys()


def test_a_redirect_that_stays_keeps_them(host: SecureHost, certificate: Path, write: Any) -> None:
    write({host.netloc: {"bearer": SECRET, "ca_file": str(certificate)}})
    host.add("there", CONTENT)
    host.behave("here", Behaviour(redirect_to="/there"))
    fetch.fetch(host.url("here"))
    assert host.requests_for("there")[0].headers["Authorization"] == f"Bearer {SECRET}"


def test_nothing_is_sent_over_http(package_host: PackageHost, settings: Settings, write: Any) -> None:
    write({package_host.netloc: {"bearer": SECRET}})
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    fetch.fetch(package_host.add("p.tar.gz", CONTENT))
    assert SECRET not in sent(package_host)


def test_a_link_with_credentials_of_its_own_keeps_those(host: SecureHost, certificate: Path, write: Any) -> None:
    write({host.netloc: {"bearer": SECRET, "ca_file": str(certificate)}})
    host.add("p.tar.gz", CONTENT)
    fetch.fetch(host.url("p.tar.gz").replace("https://", "https://bob:own-password@"))
    assert decoded(host.requests[0].headers["Authorization"]) == b"bob:own-password"
    assert SECRET not in sent(host)


# The file.


def test_a_changed_file_is_used_at_once_and_a_bad_one_is_told_and_not_used(
    host: SecureHost, certificate: Path, write: Any, caplog: pytest.LogCaptureFixture
) -> None:
    entry = {"ca_file": str(certificate)}
    for number, token in enumerate(("first-token-given", "second-token-given")):
        write({host.netloc: {"bearer": token, **entry}})
        fetch.fetch(host.add(f"{number}", package({"a": token})))
        assert host.requests[-1].headers["Authorization"] == f"Bearer {token}"
    write({host.netloc: {"bearer": 12345678}})
    fetch.fetch(host.add("2", package({"a": "third"})))
    assert host.requests[-1].headers["Authorization"] == "Bearer second-token-given"
    assert f"entry '{host.netloc}': bearer must be text" in caplog.text


BAD = {
    "h: {bearer: [1]}": "entry 'h': bearer must be text",
    "h: {bearer: abc}": "too few to be masked",
    "h: {basic: {user: me}}": "entry 'h': basic needs password, user",
    "h: {basic: {user: 'a:b', password: longenough}}": "can't hold a colon",
    "h: {header: {name: Host, value: longenough}}": "no header that can be set",
    'h: {header: {name: X, value: "two\\nlines-of"}}': "text on one line",
    "h: {bearer: longenough, header: {name: X, value: longenough}}": "it can have one of these",
    "h: {tokem: x}": "it takes basic, bearer, header, s3 and ca_file",
    "https://h/x: {bearer: longenough}": "write host or host:port",
    "h: {ca_file: /nowhere.pem}": "ca_file /nowhere.pem cannot be used",
    "h: {ca_file: rel.pem}": "absolute path",
    "h: {bearer: longenough}\nH: {bearer: longenough}": "two entries for h:443",
    "- h": "an entry for each host",
    "h: {bearer: 'lon": "no YAML, line",
    f"# {'x' * 1024 * 1024}": "larger than 1 MiB",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:60])
def test_what_is_wrong_with_it_is_said_with_the_entry_and_without_the_value(text: str, write: Any) -> None:
    with pytest.raises(sources.SourcesError) as raised:
        sources.read(str(write(text)))
    assert BAD[text] in str(raised.value)
    assert "longenough" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_others_may_read_is_refused(write: Any) -> None:
    with pytest.raises(sources.SourcesError, match="its mode is 0640: make it 0600"):
        sources.read(str(write({}, mode=0o640)))


def test_a_worker_does_not_start_with_a_bad_file_and_says_so_in_one_line(write: Any, settings: Settings) -> None:
    path = write("h: {bearer: x}")
    environment = {**os.environ, "RELEASE_SOURCES_FILE": str(path), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "worker"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"RELEASE_SOURCES_FILE names {path}: entry 'h': bearer has less than")


# S3.


@pytest.fixture(scope="module")
def s3(certificate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """moto's server, which checks signatures as S3 does, once a user with a key is there."""
    port = free_port()
    log = tmp_path_factory.mktemp("moto") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), "-c", str(certificate)]
    # So many calls are free: those that make the user and the bucket.
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": "5"}
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "-k", str(certificate)], env=environment, stdout=file, stderr=file)
    try:
        wait_for(lambda: accepts(port), what="S3 server", log=log)
        yield {"netloc": f"localhost:{port}", **_with_a_bucket(f"https://localhost:{port}", certificate)}
    finally:
        process.kill()
        process.wait()


def _with_a_bucket(url: str, certificate: Path) -> dict[str, str]:
    def client(name: str) -> Any:
        return boto3.client(
            name, endpoint_url=url, region_name="eu-west-1", aws_access_key_id="any", aws_secret_access_key="any-secret",
            verify=str(certificate), config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    client("iam").create_user(UserName="release")
    allowed = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    client("iam").put_user_policy(UserName="release", PolicyName="all", PolicyDocument=json.dumps(allowed))
    key = client("iam").create_access_key(UserName="release")["AccessKey"]
    client("s3").create_bucket(Bucket="packages", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client("s3").put_object(Bucket="packages", Key="shop/v 1+2.tar.gz", Body=CONTENT)
    return {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}


def test_s3_gives_a_package_to_who_signs_with_the_key(
    s3: dict[str, Any], settings: Settings, certificate: Path, write: Any
) -> None:
    settings.PACKAGE_HOSTS = (s3["netloc"],)
    keys = {"region": "eu-west-1", "access_key": s3["access_key"], "secret_key": s3["secret_key"]}
    url = "s3://packages/shop/v%201%2B2.tar.gz"
    write({s3["netloc"]: {"s3": {**keys, "secret_key": "not-the-secret-key"}, "ca_file": str(certificate)}})
    with pytest.raises(PackageError, match="answered 403") as refused:
        fetch.fetch(url)
    assert url in str(refused.value)

    write({s3["netloc"]: {"s3": keys, "ca_file": str(certificate)}})
    assert fetch.fetch(url).sha256 == sha256(CONTENT)
    assert s3["secret_key"] not in scrub(f"key {s3['secret_key']}")


def test_an_s3_url_needs_one_entry_that_says_where(write: Any) -> None:
    keys = {"region": "eu-west-1", "access_key": "an-access-key", "secret_key": "a-secret-key"}
    for hosts, why in ((), "no entry has `s3`"), (("a", "b"), "several entries have `s3`"):
        write({host: {"s3": keys} for host in hosts})
        with pytest.raises(PackageError, match=why) as refused:
            fetch.fetch("s3://packages/v1.tar.gz")
        assert refused.value.code == "package_host_not_allowed"


# The proxy.


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Asked]:
    with connect_proxy() as asked:
        settings.PACKAGE_PROXY = Proxy.parse(f"http://release:proxy-password-1@{asked.netloc}")
        yield asked


def test_all_goes_through_the_proxy_which_alone_sees_its_credentials(
    proxy: Asked, host: SecureHost, package_host: PackageHost, settings: Settings, certificate: Path, write: Any
) -> None:
    settings.PACKAGE_HOSTS = (host.netloc, package_host.netloc)
    write({host.netloc: {"bearer": SECRET, "ca_file": str(certificate)}})
    plain = package({"plain": "x"})
    fetch.fetch(host.add("p.tar.gz", CONTENT))
    fetch.fetch(package_host.add("q.tar.gz", plain))

    assert proxy.targets() == [f"CONNECT {host.netloc}", f"GET {package_host.url('q.tar.gz')}"]
    for _method, _target, headers in proxy.lines:
        assert decoded(headers["Proxy-Authorization"]) == b"release:proxy-password-1"
        assert SECRET not in json.dumps(headers)
    assert host.requests[0].headers["Authorization"] == f"Bearer {SECRET}"
    for server in (host, package_host):
        assert "Proxy-Authorization" not in sent(server)


def test_names_are_the_proxys_to_look_up_and_the_rules_hold_for_them(
    proxy: Asked, package_host: PackageHost, settings: Settings
) -> None:
    name = f"packages.example.invalid:{package_host.port}"
    proxy.names["packages.example.invalid"] = "127.0.0.1"
    settings.PACKAGE_HOSTS = (name, "169.254.169.254")
    package_host.add("p.tar.gz", CONTENT)
    assert fetch.fetch(f"http://{name}/p.tar.gz").sha256 == sha256(CONTENT)

    asked = len(proxy.lines)
    for url in (package_host.url("p.tar.gz"), "http://169.254.169.254/latest"):
        with pytest.raises(PackageError) as refused:
            fetch.fetch(url)
        assert refused.value.code == "package_host_not_allowed"
    package_host.behave("away", Behaviour(redirect_to="http://elsewhere.example/x"))
    with pytest.raises(PackageError, match="redirects elsewhere"):
        fetch.fetch(f"http://{name}/away")
    assert len(proxy.lines) == asked + 1, "only what redirects was asked for"


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (502, 2)])
def test_a_proxy_that_refuses_is_named_with_what_it_said(
    status: int, tries: int, proxy: Asked, host: SecureHost, settings: Settings
) -> None:
    proxy.status = status
    with pytest.raises(PackageError) as refused:
        fetch.fetch(host.add("p.tar.gz", CONTENT))
    assert refused.value.code == "package_unreachable"
    assert f"the proxy {proxy.netloc} answered {status} when asked for {host.netloc}" in str(refused.value)
    assert "proxy-password-1" not in str(refused.value)
    assert len(proxy.lines) == tries


def test_a_proxy_that_is_away_is_named(settings: Settings, host: SecureHost) -> None:
    settings.PACKAGE_PROXY = Proxy.parse(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(PackageError, match=r"the proxy 127.0.0.1:\d+ can't be reached: Connection refused"):
        fetch.fetch(host.add("p.tar.gz", CONTENT))
