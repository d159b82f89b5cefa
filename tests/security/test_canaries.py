"""A secret put into each place where one may be given turns up nowhere else: one run of everything, then a search."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from deploys.models import LogLine, Operation
from deploys.webhook_models import WebhookDelivery
from inventory.models import Delivery, Instance
from tests.releasesite.api.test_who_may_call import ROWS
from tests.support.api import new_token, with_token
from tests.support.database import database_url
from tests.support.fleet import ids, make_instances, make_node, make_service
from tests.support.lab import wait_for_end
from tests.support.package_builder import package, sha256
from tests.support.package_host import Behaviour, PackageHost
from tests.support.sshd import SshServer
from tests.support.web import running_web
from tests.support.webhook_receiver import Receiver, receiving
from tests.support.webhooks import make_webhook
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
# Where a secret is meant to be, because the system needs it later.
MEANT = {
    "userinfo": {"deploys_operation.package_url", "deploys_package.url"},
    "query": {"deploys_operation.package_url", "deploys_package.url"},
    "signature": {"deploys_operation.signature", "deploys_package.signature"},
    "hook": {"deploys_webhook.url"},
    "hooksecret": {"deploys_webhook.chat_secret"},
    "hooksigning": {"deploys_webhook.secret"},
}
RESTART = """
echo "the config says $(cat config)"
echo "a token of ours: $(cat token)"
echo "Authorization: Bearer $(cat bearer)" >&2
echo "fetched https://bob:$(cat bearer)@example.com/?key=$(cat bearer)"
sleep 1
! test -e broken
"""


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """Every secret by the place it was given in."""

    values: Mapping[str, str] = field(
        default_factory=lambda: {
            name: f"canary{name}{secrets.token_hex(8)}"
            for name in (
                "userinfo",
                "query",
                "database",
                "registered",
                "bearer",
                "password",
                "unknowntoken",
                "hook",
                "hooksecret",
            )
        }
    )
    more: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.values.get(name) or self.more[name]

    def found_in(self, text: str) -> set[str]:
        return {name for name, value in {**self.values, **self.more}.items() if value in text}


@dataclass(kw_only=True)
class ProcessList:
    """What `ps` shows of every process, looked at again and again."""

    commands: set[str] = field(default_factory=set)
    looks: int = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._watch, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(0.05):
            self.looks += 1
            for process in psutil.process_iter(["cmdline", "name"]):
                self.commands.add("\0".join([process.info["name"] or "", *(process.info["cmdline"] or [])]))


@dataclass(kw_only=True)
class Run:
    """All that could be read after a run of everything."""

    canaries: Canaries
    processes: ProcessList
    logs: str
    package_host: PackageHost
    token: str


@pytest.fixture
def run(
    own_sshd: SshServer, package_host: PackageHost, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Run:
    canaries = Canaries()
    sshd = own_sshd
    key = sshd.private_key.read_text()
    canaries.more["sshkey"] = key.splitlines()[2]
    token = new_token("deploy")
    canaries.more["token"] = token
    canaries.more["secretkey"] = settings.SECRET_KEY
    fleet = make_fleet(sshd)
    links = keep_fetched_links(sshd)
    (tmp_path / "secrets").write_text(f"{canaries['registered']}\n")
    environment = {
        "RELEASE_PACKAGE_HOSTS": package_host.netloc,
        "RELEASE_SSH_KEY_FILE": str(sshd.private_key),
        "RELEASE_SECRETS_FILE": str(tmp_path / "secrets"),
        "SECRET_KEY": canaries["secretkey"],
        "DATABASE_URL": with_password(database_url(), canaries["database"]),
    }
    processes = ProcessList()
    with (
        telling(canaries) as receiver,
        running_web(**environment, RELEASE_WEBHOOK_HOSTS=receiver.netloc) as web,
        running_worker(
            {**environment, "RELEASE_PUBLIC_URL": web.url, "RELEASE_WEBHOOK_HOSTS": receiver.netloc}
        ) as worker,
        processes.watched(),
    ):
        work(canaries, token, fleet, package_host)
        strangers(canaries)
        worker.stop()
        logs = worker.log.read_text() + web.log
    canaries.more.update(signatures_in(links.read_text()))
    return Run(canaries=canaries, processes=processes, logs=logs, package_host=package_host, token=token)


@contextmanager
def telling(canaries: Canaries) -> Iterator[Receiver]:
    """A webhook whose receiver refuses what it gets, and quotes all that it knows."""
    canaries.more["hooksigning"] = signing = base64.b64encode(secrets.token_bytes(24)).decode()
    with receiving() as receiver:
        token, chat = canaries["hook"], canaries["hooksecret"]
        receiver.status, receiver.body = (
            403,
            f"no bot {token}: /hook/{token}?key={token} {chat} whsec_{signing}".encode(),
        )
        url = f"http://{token}:{token}@{receiver.netloc}/hook/{token}?key={token}"
        make_webhook(url, body="dingtalk", chat_secret=chat, secret=f"whsec_{signing}")
        yield receiver


def make_fleet(sshd: SshServer) -> list[Instance]:
    public = SIGNING.public_key().public_bytes_raw().hex()
    service = make_service(restart_command=RESTART, command_timeout=20, signing_key=public)
    root = sshd.node_root()
    pushed = make_instances(service, make_node("ssh-1", **sshd.node_fields), count=2, root=root)
    pulling = make_node("ssh-2", delivery=Delivery.PULL, **sshd.node_fields)
    return [*pushed, *make_instances(service, pulling, count=1, prefix="pulling", root=root)]


CURL = """#!/bin/sh
# Keeps what the real one is told on its stdin, and lives long enough to be seen.
line=$(cat)
printf '%s\\n' "$line" >>{kept}
sleep 0.3
printf '%s\\n' "$line" | {curl} "$@"
"""


def keep_fetched_links(sshd: SshServer) -> Path:
    """A file that gets every link by which the node fetches."""
    programs = sshd.folder / "programs"
    programs.mkdir()
    kept = Path(sshd.node_root()) / "links"
    (programs / "curl").write_text(CURL.format(kept=kept, curl=shutil.which("curl")))
    (programs / "curl").chmod(0o755)
    sshd.stop()
    with (sshd.folder / "sshd_config").open("a") as configuration:
        configuration.write(f"SetEnv PATH={programs}:{os.environ['PATH']}\n")
    sshd.start()
    return kept


def signatures_in(links: str) -> dict[str, str]:
    return {f"link {number}": found for number, found in enumerate(re.findall(r"signature=([^\"&\s]+)", links), 1)}


def with_password(url: str, password: str) -> str:
    scheme, rest = url.split("://", 1)
    userinfo, place = rest.rsplit("@", 1)
    return f"{scheme}://{userinfo.split(':')[0]}:{password}@{place}"


def work(canaries: Canaries, token: str, fleet: list[Instance], host: PackageHost) -> None:
    """Deploys that go well, fail on the node, fail at the package host in several ways; a rollback."""
    client = with_token(token)
    contents = {
        version: package({**printed_by_the_restart(canaries), "v": version, **more})
        for version, more in {"v1": {}, "v2": {}, "v3": {"broken": "x"}, "v4": {}, "v5": {}}.items()
    }
    for version, content in contents.items():
        host.add(f"{version}.tar.gz", content)
    host.behave("v4.tar.gz", Behaviour(status=404))
    host.behave(
        "v5.tar.gz", Behaviour(redirect_to=f"http://x:{canaries['userinfo']}@127.0.0.2:9/?k={canaries['query']}")
    )
    for version, content in contents.items():
        signed = SIGNING.sign(bytes.fromhex(sha256(content))).hex()
        canaries.more.setdefault("signature", signed)
        answer = client.post(
            "/v1/deploy/execute",
            {
                "service": "user-service",
                "version": version,
                "instances": ids(fleet),
                "deploy_id": f"d-{version}",
                "package_url": secret_url(canaries, host, version),
                "signature": signed,
            },
        )
        assert answer.status_code == 202, answer.content
        wait_for_end(Operation.objects.get(public_id=f"d-{version}"), seconds=60)
    answer = client.post("/v1/rollback/instance", {"instance_id": "instance-1", "rollback_id": "r-1"})
    assert answer.status_code == 202, answer.content
    wait_for_end(Operation.objects.get(public_id="r-1"), seconds=60)
    statuses = Operation.objects.order_by("pk").values_list("status", flat=True)
    assert list(statuses) == ["completed", "completed", "failed", "failed", "failed", "completed"]


def printed_by_the_restart(canaries: Canaries) -> dict[str, str]:
    return {"config": canaries["registered"], "bearer": canaries["bearer"], "token": canaries["token"]}


def secret_url(canaries: Canaries, host: PackageHost, version: str) -> str:
    return f"http://build:{canaries['userinfo']}@{host.netloc}/{version}.tar.gz?key={canaries['query']}#{canaries['query']}"


def strangers(canaries: Canaries) -> None:
    """Those who do not get in leave their secrets too."""
    User.objects.create_superuser("root", password=canaries["password"])
    for header in (f"Bearer rxt_{canaries['unknowntoken']}", f"Basic {canaries['unknowntoken']}"):
        assert Client().get("/v1/deploy/list", headers={"Authorization": header}).status_code == 401
    client = Client()
    client.post("/login", {"username": canaries["password"], "password": canaries["password"]})
    client.post("/login", {"username": "root", "password": f"{canaries['password']}x"})
    assert client.post("/login", {"username": "root", "password": canaries["password"]}).status_code == 302
    bad = {"service": "user-service", "package_url": f"ftp://x:{canaries['userinfo']}@h/", "sha256": canaries["query"]}
    assert Client().post("/v1/deploy/execute", bad, content_type="application/json").status_code == 401


def test_no_secret_turns_up_where_it_is_not_meant_to_be(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    check_that_they_were_used(run)
    out, err = capfd.readouterr()
    found: dict[str, set[str]] = {
        "worker's log, and that of the nodes' web": run.canaries.found_in(run.logs),
        "web's log": run.canaries.found_in(out + err),
        "process list": run.canaries.found_in("\n".join(run.processes.commands)),
        **in_the_database(run.canaries),
        **in_commands(run.canaries),
    }
    places = 0
    for name, text in readable(run):
        places += 1
        found[name] = run.canaries.found_in(text)

    assert {place: names for place, names in found.items() if names} == {}
    print(f"{len(run.canaries.values) + len(run.canaries.more)} secrets, {places} pages and answers, {rows()} rows")


def check_that_they_were_used(run: Run) -> None:
    """Else the search would prove nothing."""
    [first, *_] = run.package_host.requests_for("v1.tar.gz")
    assert run.canaries["query"] in first.path
    assert "Authorization" in first.headers
    printed = list(LogLine.objects.filter(operation__public_id="d-v1").values_list("text", flat=True))
    assert "the config says [redacted]" in printed
    assert "a token of ours: [redacted]" in printed
    assert "Authorization: [redacted]" in " ".join(printed)
    assert "fetched https://example.com/" in printed
    assert set(in_the_database(run.canaries, meant={})) == set.union(*MEANT.values())
    told = WebhookDelivery.objects.filter(answer_status=403).values_list("answer", flat=True)
    assert set(told) == {"no bot [redacted]: /hook/[redacted]?[redacted] [redacted] whsec_[redacted]"}
    assert run.processes.looks > 20
    assert any("release-node" in command for command in run.processes.commands), "no node program was seen"
    assert any("--max-redirs" in command for command in run.processes.commands), "no fetching node was seen"
    assert {name for name in run.canaries.more if name.startswith("link")} == {"link 1", "link 2", "link 3"}
    assert run.logs.count("/v1/artifacts/") >= 3


def in_the_database(canaries: Canaries, meant: Mapping[str, set[str]] = MEANT) -> dict[str, set[str]]:
    """Canaries by table.column, those aside that are meant to be there."""
    found: dict[str, set[str]] = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT to_jsonb(t) FROM {connection.ops.quote_name(table)} t")
            for (row,) in cursor.fetchall():
                for column, value in (row if isinstance(row, dict) else json.loads(row)).items():
                    place = f"{table}.{column}"
                    names = {n for n in canaries.found_in(str(value)) if place not in meant.get(n, ())}
                    if names:
                        found.setdefault(place, set()).update(names)
    return found


def rows() -> int:
    return sum(model._default_manager.count() for model in apps.get_models())


def in_commands(canaries: Canaries) -> dict[str, set[str]]:
    out = StringIO()
    call_command("audit_export", stdout=out)
    call_command("node_gate", "ssh-1", stdout=out)
    return {"audit export": canaries.found_in(out.getvalue())}


def readable(run: Run) -> Iterator[tuple[str, str]]:
    """(where, what is read there) of every API answer and of every page, those of the admin included."""
    program = with_token(run.token)
    for name, row in ROWS.items():
        if row.method == "get" and "d-waiting" not in row.path and "r-waiting" not in row.path:
            yield f"API {name}", program.get(row.path).content.decode()
    person = Client()
    person.force_login(User.objects.get(username="root"))
    for operation in Operation.objects.all():
        at = f"{operation.kind}/{{}}/{operation.public_id}"
        for what in ("status", "logs"):
            yield f"API {what} {operation.public_id}", program.get("/v1/" + at.format(what)).content.decode()
        page = reverse(operation.kind, args=[operation.public_id])
        for path in (page, f"{page}/log", f"{page}/log.txt"):
            yield path, text_of(person.get(path))
    for path in ("/", "/history", "/deploy", "/services/user-service", "/services/user-service/roll-back?to=v1"):
        yield path, text_of(person.get(path))
    yield "deploy preview", text_of(person.post("/deploy", preview_of(run)))
    yield from admin_pages(person)


def preview_of(run: Run) -> dict[str, str]:
    """Its form has to hold the URL that was just typed; what is shown of it must not."""
    url = run.package_host.url("v1.tar.gz")
    return {"step": "preview", "service": "user-service", "version": "v9", "package_url": url, "scope": "all"}


def admin_pages(person: Client) -> Iterator[tuple[str, str]]:
    for model in admin.site._registry:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        yield f"admin {name}", text_of(person.get(reverse(f"admin:{name}_changelist")))
        for row in model._default_manager.order_by("-pk")[:5]:
            answer = person.get(reverse(f"admin:{name}_change", args=[quote(str(row.pk))]))
            assert answer.status_code in (200, 403), (name, answer.status_code)
            yield f"admin {name} {row.pk}", text_of(answer)


def text_of(answer: Any) -> str:
    assert answer.status_code < 500
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return str(body.decode())
