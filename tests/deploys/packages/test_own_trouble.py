"""A death of ours, a full disk or a limit of the host is never a verdict on the package, and the next try is a new one."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from pytest_django.fixtures import Settings

from deploys.models import Operation
from deploys.operations.retry import retry_operation
from deploys.operations.start import DeployRequest, start_deploy
from deploys.packages import fetch, repack_process
from deploys.packages.errors import PackageError
from deploys.packages.store import PackageStore
from deploys.states import Kind, OperationStatus
from tests.deploys.packages.hostile import END, file, gzipped_pieces, tar
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.package_builder import package
from tests.support.package_host import PackageHost

CONTENT = package({"app.py": "print('v1')\n"})
# Some seconds of reading.
LONG = gzipped_pieces([*(file(f"d{number % 100}/{number}") for number in range(60_000)), END])


@pytest.fixture
def store(tmp_path: Path, settings: Settings, package_host: PackageHost) -> PackageStore:
    settings.DATA_DIR = tmp_path
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    return PackageStore(tmp_path / "packages")


@contextmanager
def killing_readers(most: int) -> Iterator[list[int]]:
    """kill -9 for the first so many readers of archives, as soon as they are there; whom it has killed."""
    killed: list[int] = []
    ending = threading.Event()

    def kill() -> None:
        while len(killed) < most and not ending.wait(0.05):
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):
                    if child.pid not in killed and "archive.child" in " ".join(child.cmdline()):
                        child.kill()
                        killed.append(child.pid)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield killed
    ending.set()
    thread.join()


def refusal(url: str) -> PackageError:
    with pytest.raises(PackageError) as raised:
        fetch.fetch(url)
    assert raised.value.code == "internal_error", raised.value
    assert "refused" not in raised.value.message
    assert "Make it smaller" not in raised.value.message
    return raised.value


# A reader that dies.


def test_a_reader_killed_once_is_followed_by_another(store: PackageStore, package_host: PackageHost) -> None:
    notes: list[str] = []
    url = package_host.add("p.tar.gz", LONG)

    with killing_readers(1) as killed:
        artifact = fetch.fetch(url, on_note=lambda note: notes.append(str(note)))

    assert len(killed) == 1
    assert len(package_host.requests) == 1
    assert "was killed by signal 9 (SIGKILL); reading again (2 of 3)" in " ".join(notes)
    assert artifact.path.stat().st_size == artifact.artifact_bytes


def test_readers_killed_each_time_end_in_an_error_that_names_the_signal(
    store: PackageStore, package_host: PackageHost
) -> None:
    url = package_host.add("p.tar.gz", LONG)

    with killing_readers(100) as killed:
        error = refusal(url)

    assert len(killed) == repack_process.READINGS
    assert f"{package_host.url('p.tar.gz')} could not be read here" in error.message
    assert "signal 9 (SIGKILL), 3 times" in error.message
    assert fetch.fetch(url).size_bytes == len(LONG)


def test_a_host_without_memory_is_told_apart_from_a_package_that_takes_too_much(tmp_path: Path) -> None:
    """The host's own limit is lower than the package's allowance."""
    (tmp_path / "p").write_bytes(tar(*(file(f"{number:0>90}") for number in range(100_000))))
    program = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (70 * 1024**2,) * 2)
from deploys.packages import repack_process
from deploys.packages.archive.refusals import Limits
from deploys.packages.errors import PackageError
limits = Limits(extracted_bytes=1024**3, cpu_seconds=60, wall_seconds=60)
try:
    with open("p", "rb") as package, open("a", "w+b") as artifact:
        repack_process.repack(package, artifact, folder=Path("."), limits=limits, on_note=print)
except PackageError as error:
    print(error.code, error.message)
"""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert "reading again (3 of 3)" in said.stdout, said
    assert said.stdout.splitlines()[-1].startswith("internal_error its reader got no memory from the host, 3 times")


# A disk of ours.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Mounts a file system of its own at a folder, or mounts it anew with other options."""
    mounted: set[Path] = set()

    def mount(folder: Path, options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        kind = ["-o", f"remount,{options}"] if folder in mounted else ["-t", "tmpfs", "-o", options, "tmpfs"]
        if subprocess.run(["mount", *kind, folder], check=False).returncode != 0:
            pytest.skip("mounting a small file system needs root and the right to mount")
        mounted.add(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_folder_for_temporary_files_is_not_needed(
    store: PackageStore,
    package_host: PackageHost,
    small_disk: Callable[[Path, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "temporary"
    small_disk(folder, "size=64k")
    with suppress(OSError):
        (folder / "fill").write_bytes(bytes(1024**2))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    assert fetch.fetch(package_host.add("p.tar.gz", CONTENT)).size_bytes == len(CONTENT)


def test_a_store_that_is_read_only_is_named(
    store: PackageStore, package_host: PackageHost, small_disk: Callable[[Path, str], None]
) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    small_disk(store.folder, "size=4m")
    small_disk(store.folder, "ro")

    error = refusal(url)

    assert f"The package store {store.folder} is on a read-only file system" in error.message
    assert "Mount it writable" in error.message
    small_disk(store.folder, "rw")
    assert fetch.fetch(url).size_bytes == len(CONTENT)


def test_a_store_that_is_no_folder_is_named(store: PackageStore, package_host: PackageHost) -> None:
    store.folder.write_text("")

    error = refusal(package_host.add("p.tar.gz", CONTENT))

    assert f"The package store {store.folder} can't be used" in error.message


def test_too_many_open_files_are_not_the_package_hosts_fault(store: PackageStore, package_host: PackageHost) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with store.room():
        pass
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 20, hard))
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        # One for the package's file, none for the connection.
        for descriptor in taken[:1]:
            os.close(descriptor)
        error = refusal(url)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken[1:]:
            os.close(descriptor)

    assert "too many files open" in error.message
    assert "LimitNOFILE" in error.message
    assert fetch.fetch(url).size_bytes == len(CONTENT)


@pytest.mark.django_db(transaction=True)
def test_a_deploy_that_failed_for_a_full_disk_is_done_when_retried_with_room(
    store: PackageStore,
    package_host: PackageHost,
    small_disk: Callable[[Path, str], None],
    tmp_path: Path,
    run_work_loop: Callable[[str], None],
) -> None:
    small_disk(store.folder, "size=1m")
    url = package_host.add("v1.tar.gz", package({"app.py": "print('v1')\n", "data": os.urandom(2_000_000)}))
    fleet = make_instances(make_service(restart_command=""), make_node(), 2, root=tmp_path / "srv")
    wanted = DeployRequest(service="user-service", version="v1", instances=ids(fleet), package_url=url)
    operation = start_deploy(access=SCHEDULER, request=wanted)
    run_work_loop("deploys")

    ended = operation.targets.values_list("error_code", "error_message")
    assert {code for code, _ in ended} == {"internal_error"}
    assert {f"The package store {store.folder} has no room left" in message for _, message in ended} == {True}
    assert Operation.objects.get(pk=operation.pk).package_error_code == ""

    small_disk(store.folder, "size=16m")
    retry_operation(access=SCHEDULER, kind=Kind.DEPLOY, public_id=operation.public_id)
    run_work_loop("deploys")
    operation.refresh_from_db()
    assert operation.status == OperationStatus.COMPLETED, list(operation.targets.values("error_message"))
