"""Secrets of RELEASE_SOURCES_FILE and of the proxy, through a real worker: they reach their host, and nobody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from deploys.models import Operation
from deploys.operations.start import DeployRequest, start_deploy
from tests.support.api import caller
from tests.support.connect_proxy import connect_proxy
from tests.support.demo_data import people
from tests.support.fleet import SCHEDULER, ids
from tests.support.lab import Lab, wait_for_end
from tests.support.package_builder import package
from tests.support.package_host import Behaviour, PackageHost
from tests.support.tls import self_signed, serving_securely
from tests.support.worker import running_worker

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]

BEARER, PASSWORD = "canary-bearer-5d1c9a", "canary-proxy-8e2b7f"
SECRETS = (BEARER, PASSWORD)


def test_they_are_read_nowhere(tmp_path: Path, package_host: PackageHost, settings: Settings, client: Client) -> None:
    certificate = self_signed(["localhost"], tmp_path / "private.pem")
    file = tmp_path / "sources.yaml"
    with serving_securely(tmp_path / "secure", certificate) as host, connect_proxy() as proxy:
        file.write_text(yaml.safe_dump({host.netloc: {"bearer": BEARER, "ca_file": str(certificate)}}))
        file.chmod(0o600)
        lab = Lab.build(tmp_path, package_host, count=1)
        # The host gives away what it was sent: in a package's file, and where its answer is quoted.
        files = {"app.py": "x" * 1000, "config": f"token: {BEARER}"}
        lab.instances[0].service.restart_command = 'cat config; echo "Authorization: Bearer $(cut -c8- config)" >&2'
        lab.instances[0].service.save()
        good = host.add("v1.tar.gz", package(files))
        bad = host.add("v2.tar.gz", b"no archive")
        host.behave("v2.tar.gz", Behaviour(headers={"Content-Type": f"text/{BEARER}"}))
        host.behave("v3.tar.gz", Behaviour(redirect_to=f"https://elsewhere.example/{BEARER}/x?key={BEARER}"))
        variables = {
            "RELEASE_PACKAGE_HOSTS": host.netloc,
            "RELEASE_SOURCES_FILE": str(file),
            "RELEASE_PACKAGE_PROXY": f"http://release:{PASSWORD}@{proxy.netloc}",
        }
        with seen_processes() as arguments, running_worker(variables) as worker:
            for version, url in (("v1", good), ("v2", bad), ("v3", host.url("v3.tar.gz"))):
                wait_for_end(deploy(lab, version, url), seconds=60)
            log = worker.log.read_text()
        assert f"Bearer {BEARER}" in json.dumps([dict(each.headers) for each in host.requests]), "it was used"
        assert len(proxy.lines) >= 3
    everything = {"log": log, "arguments": "\n".join(arguments), **tables(), **answers(client)}
    assert {(place, secret) for place, text in everything.items() for secret in SECRETS if secret in text} == set()
    assert "v2" in everything["deploys_operation"], "something was looked through"


def deploy(lab: Lab, version: str, url: str) -> Operation:
    request = DeployRequest(service="user-service", version=version, instances=ids(lab.instances), package_url=url)
    return start_deploy(access=SCHEDULER, request=request)


@contextmanager
def seen_processes() -> Iterator[set[str]]:
    """Every process's arguments, looked at again and again."""
    seen: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    seen.add(" ".join(process.cmdline()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def tables() -> dict[str, str]:
    """Every row of every table, as text."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT row_to_json(t)::text FROM "{table}" t')
            found[table] = "\n".join(row[0] for row in cursor.fetchall())
    return found


def answers(client: Client) -> dict[str, str]:
    """Pages and API of each operation."""
    client.force_login(people()["admin"])
    api = caller("read")
    found = {}
    for operation in Operation.objects.all():
        pages = [reverse("deploy", args=[operation.public_id]), reverse("deploy-log-file", args=[operation.public_id])]
        calls = [f"/v1/deploy/{what}/{operation.public_id}" for what in ("status", "logs")]
        for path in pages:
            response = client.get(path)
            found[path] = (b"".join(response) if response.streaming else response.content).decode()
        for path in calls:
            found[path] = api.get(path).content.decode()
    return found
