"""One whole site for the benchmarks: database, web, worker, package host, and nodes behind a real sshd.

Everything is a process of its own, as in production: gunicorn, `manage.py worker`, PostgreSQL (the embedded one,
durable), sshd. A node is a row with an address of its own as far as the worker knows, and so has a connection of its own.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import psutil
import psycopg
import requests

from bench.cpu import cpu_seconds
from tests.support.package_host import PackageHost
from tests.support.ports import accepts, free_port
from tests.support.sshd import SshServer, ssh_server

if TYPE_CHECKING:
    from inventory.models import Instance, Service
    from tests.support.worker import WorkerHost

SERVICE = "bench"
RESTART = 'echo "$RELEASE_VERSION" >>"$RELEASE_ROOT/restarts"'
OPERATION_SECONDS = 900
MEMORY = "/dev/shm"


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """What outlives a change of worker settings."""

    folder: Path
    sshd: SshServer
    package_host: PackageHost

    def new_roots(self, count: int) -> list[str]:
        return [self.sshd.node_root() for _ in range(count)]


@contextmanager
def foundation() -> Iterator[Foundation]:
    """The database, sshd and the package host; sets Django up over them."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="release-bench-"))
        folder.chmod(0o755)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        served = folder / "packages"
        served.mkdir()
        host = PackageHost(served)
        host.start()
        stack.callback(host.stop)
        sshd = stack.enter_context(sshd_in_memory())
        os.environ.update(
            DJANGO_SETTINGS_MODULE="releasesite.settings",
            RELEASE_DATA_DIR=str(folder / "data"),
            RELEASE_PACKAGE_HOSTS=host.netloc,
            RELEASE_SSH_KEY_FILE=str(sshd.private_key),
            DJANGO_LOG_LEVEL="WARNING",
            # With new connections to all nodes, every ten minutes: not in the midst of a measurement.
            RELEASE_SYNC_SECONDS="86400",
        )
        os.environ.pop("DATABASE_URL", None)
        stack.callback(_prepare_database())
        yield Foundation(folder=folder, sshd=sshd, package_host=host)


@contextmanager
def sshd_in_memory(*, host: str = "127.0.0.1", within: Sequence[str] = ()) -> Iterator[SshServer]:
    """The nodes' disks are in memory, for every tool alike: a fleet has a disk for each node, this machine has one."""
    with sshd_in(MEMORY if Path(MEMORY).is_dir() else tempfile.gettempdir(), host=host, within=within) as sshd:
        yield sshd


@contextmanager
def sshd_in(folder: str, *, host: str = "127.0.0.1", within: Sequence[str] = ()) -> Iterator[SshServer]:
    """The nodes' roots are below that folder."""
    before, tempfile.tempdir = tempfile.gettempdir(), folder
    try:
        with ssh_server(host=host, within=within) as sshd:
            tempfile.tempdir = before
            yield sshd
    finally:
        tempfile.tempdir = before


def let_in(base: Foundation, sshd: SshServer) -> None:
    """The site's own key, beside the server's."""
    keys = (base.sshd.private_key, sshd.private_key)
    text = "".join(key.with_suffix(".pub").read_text() for key in keys)
    (sshd.folder / "authorized_keys").write_text(text)


def _prepare_database() -> Any:
    django.setup()
    from django.core.management import call_command
    from django.db import connections

    from releasesite.embedded_postgres.base import server

    server.use()
    call_command("migrate", verbosity=0, interactive=False)

    def let_go() -> None:
        connections.close_all()
        server.release(wait=True)

    return let_go


@dataclass(kw_only=True)
class Site:
    """A running site. The seconds that its methods return are from before the request's first byte."""

    base: Foundation
    worker_host: WorkerHost | None
    web: subprocess.Popen[bytes]
    address: str
    http: requests.Session
    database: psycopg.Connection[Any]
    _versions: Iterator[str] = field(default_factory=lambda: (f"v{n}" for n in range(1, 1_000_000)))

    @property
    def worker(self) -> WorkerHost:
        assert self.worker_host is not None
        return self.worker_host

    def new_version(self) -> tuple[str, str]:
        """A version never deployed before, and its URL."""
        from bench.release_package import release_package

        version = next(self._versions)
        return version, self.base.package_host.add(f"{version}.tar.gz", release_package(version))

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.post(f"{self.address}{path}", json=body, timeout=120)
        assert answer.status_code == 202, answer.text[:2000]
        result: dict[str, Any] = answer.json()
        return result

    def get(self, path: str) -> requests.Response:
        answer = self.http.get(f"{self.address}{path}", timeout=120)
        assert answer.status_code == 200, answer.text[:2000]
        return answer

    def deploy(self, instances: Sequence[Instance], version: str, url: str, *, until: str = "switched") -> float:
        """From the POST to `completed`."""
        body = {
            "service": SERVICE,
            "version": version,
            "instances": [instance.instance_id for instance in instances],
            "package_url": url,
            "until": until,
        }
        begun = time.perf_counter()
        deploy_id = self.post("/v1/deploy/execute", body)["deploy_id"]
        return self.ended("deploy", deploy_id) - begun

    def roll_back(self, instances: Sequence[Instance], version: str) -> float:
        names = [instance.instance_id for instance in instances]
        body = {"service": SERVICE, "target_version": version, "instances": names}
        begun = time.perf_counter()
        rollback_id = self.post("/v1/rollback/batch", body)["rollback_id"]
        return self.ended("rollback", rollback_id) - begun

    def roll_back_one(self, instance: Instance) -> tuple[str, float]:
        begun = time.perf_counter()
        rollback_id = self.post("/v1/rollback/instance", {"instance_id": instance.instance_id})["rollback_id"]
        return rollback_id, self.ended("rollback", rollback_id, every_seconds=0.002) - begun

    def ended(self, kind: str, public_id: str, *, every_seconds: float = 0.01) -> float:
        """The moment at which it is seen to have completed. Looks at one row: cheap enough to ask all the time."""
        deadline = time.monotonic() + OPERATION_SECONDS
        query = "SELECT status, finished_at IS NOT NULL FROM deploys_operation WHERE kind = %s AND public_id = %s"
        while time.monotonic() < deadline:
            row = self.database.execute(query, [kind, public_id]).fetchone()
            if row is not None and row[1]:
                if row[0] != "completed":
                    raise RuntimeError(f"{kind} {public_id}: {row[0]}\n{self._failures(kind, public_id)}")
                return time.perf_counter()
            time.sleep(every_seconds)
        raise TimeoutError(f"{kind} {public_id} is not over after {OPERATION_SECONDS} s")

    def cpu_seconds(self) -> float:
        """Of web, worker and database so far."""
        database = psutil.Process(self.database.info.backend_pid).parent()
        assert database is not None
        worker = [self.worker_host.process.pid] if self.worker_host else []
        return sum(cpu_seconds(pid) for pid in (self.web.pid, database.pid, *worker))

    def _failures(self, kind: str, public_id: str) -> str:
        path = f"/v1/{kind}/status/{public_id}"
        answer = self.get(path).json()
        wrong = [each for each in answer.pop("instances") if each["status"] != "completed"]
        return "\n".join(str(each) for each in (answer, *wrong[:5]))


def service() -> Service:
    """It is made when it is not there yet."""
    from django.utils import timezone

    from inventory.models import Service

    rules = {"restart_command": RESTART, "command_timeout": 600, "keep_releases": 30, "synced_at": timezone.now()}
    return Service.objects.get_or_create(name=SERVICE, defaults=rules)[0]


def make_fleet(base: Foundation, count: int, *, prefix: str) -> list[Instance]:
    """Nodes with one instance each."""
    from inventory.models import Instance, Node

    owner, fields = service(), base.sshd.node_fields
    nodes = Node.objects.bulk_create(Node(name=f"{prefix}-node-{n}", **fields) for n in range(1, count + 1))
    roots = base.new_roots(count)
    return Instance.objects.bulk_create(
        Instance(instance_id=f"{prefix}-{n}", service=owner, node=node, port=8000, deploy_root=root)
        for n, (node, root) in enumerate(zip(nodes, roots, strict=True), start=1)
    )


@contextmanager
def running_site(
    base: Foundation, *, workers: int = 2, concurrency: int = 100, has_worker: bool = True
) -> Iterator[Site]:
    from django.db import connection

    from releasesite.models import ApiToken
    from tests.support.database import database_url
    from tests.support.worker import running_worker

    connection.ensure_connection()
    _, secret = ApiToken.objects.issue(name="bench", scope="deploy", services=())
    variables = {
        "DJANGO_SETTINGS_MODULE": "releasesite.settings",
        "RELEASE_WORKERS": str(workers),
        "RELEASE_CONCURRENCY": str(concurrency),
    }
    os.environ["RELEASE_WORKERS"] = str(workers)
    from django.conf import settings

    settings.WORKERS = workers
    with ExitStack() as stack:
        web, address = _start_web(base, variables)
        stack.callback(_end, web)
        worker = stack.enter_context(running_worker(variables)) if has_worker else None
        database = stack.enter_context(psycopg.connect(database_url(), autocommit=True))
        http = stack.enter_context(requests.Session())
        http.headers["Authorization"] = f"Bearer {secret}"
        yield Site(base=base, worker_host=worker, web=web, address=address, http=http, database=database)


def _start_web(base: Foundation, variables: dict[str, str]) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    with (base.folder / "web.log").open("ab") as log:
        web = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "releasesite.wsgi", "--bind", f"127.0.0.1:{port}"],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 180
    while not accepts(port) or requests.get(f"http://127.0.0.1:{port}/healthz", timeout=120).status_code != 200:
        if web.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((base.folder / "web.log").read_text()[-3000:])
        time.sleep(0.1)
    return web, f"http://127.0.0.1:{port}"


def _end(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.wait()
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue


def median(values: Sequence[float]) -> float:
    return statistics.median(values)
