"""One folder, many processes: whole artifacts or none (FAULTS.md, row 32)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from deploys.packages import fetch
from deploys.packages.archive.repack import Repacked
from deploys.packages.errors import PackageError
from deploys.packages.store import Artifact, PackageStore, stored
from tests.support.package_builder import package, sha256
from tests.support.package_host import PackageHost

CONTENT = package({"a": "b"})
DIGEST = sha256(CONTENT)


@pytest.fixture
def store(tmp_path: Path, settings: Settings, package_host: PackageHost) -> PackageStore:
    settings.DATA_DIR = tmp_path
    settings.PACKAGE_HOSTS = (package_host.netloc,)
    settings.PACKAGE_MAX_BYTES = 64 * 1024**2
    return PackageStore(tmp_path / "packages")


def put(store: PackageStore, name: str, content: bytes = b"artifact") -> Artifact:
    repacked = Repacked(artifact_sha256=sha256(content), artifact_bytes=len(content))
    with store.room(), store.draft() as (file, draft):
        file.write(content)
        file.flush()
        return store.publish(draft, sha256=sha256(name.encode()), size_bytes=3, repacked=repacked)


def test_it_knows_what_it_stored(store: PackageStore) -> None:
    artifact = put(store, "one")
    assert store.stored(sha256(b"one")) == artifact
    assert artifact.path == store.folder / artifact.sha256[:2] / f"{artifact.sha256}.tar.gz"


def test_it_is_made_for_its_own_account_alone(store: PackageStore) -> None:
    lock = store.lock_file("operation-1")

    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (store.folder, lock.parent)} == {0o700}


def test_it_reads_what_an_earlier_version_noted(store: PackageStore) -> None:
    artifact = put(store, "one")
    record = artifact.path.with_name(f"{artifact.sha256}.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "file_count": 7}))

    assert store.stored(artifact.sha256) == artifact


@pytest.mark.parametrize("sha256", ["", "0" * 64, "../../etc/passwd", "0" * 63 + "\n", "A" * 64, "/" * 64])
def test_it_does_not_know_what_it_never_stored(sha256: str, store: PackageStore) -> None:
    assert store.stored(sha256) is None


@pytest.mark.parametrize("damage", ["shorter", "longer", "gone", "no record", "cut record", "odd record"])
def test_it_takes_a_damaged_artifact_for_absent_and_makes_it_again(
    damage: str, store: PackageStore, package_host: PackageHost
) -> None:
    url = package_host.add("p.tar.gz", CONTENT)
    artifact = fetch.fetch(url)
    whole = artifact.path.read_bytes()
    record = artifact.path.with_name(f"{DIGEST}.json")
    match damage:
        case "shorter":
            artifact.path.write_bytes(whole[:-1])
        case "longer":
            artifact.path.write_bytes(whole + b"x")
        case "gone":
            artifact.path.unlink()
        case "no record":
            record.unlink()
        case "cut record":
            record.write_bytes(record.read_bytes()[:20])
        case _:
            record.write_text('{"size_bytes": 1, "who": "?"}')
    assert stored(DIGEST) is None
    assert fetch.fetch(url, expected_sha256=DIGEST) == artifact
    assert artifact.path.read_bytes() == whole


def test_it_forgets_what_has_gone_bad_without_changing_its_size(store: PackageStore) -> None:
    artifact = put(store, "one")
    assert not store.discard_if_damaged(artifact)
    assert store.stored(artifact.sha256) == artifact
    artifact.path.write_bytes(b"ARTIFACT")
    assert store.stored(artifact.sha256) == artifact
    assert store.discard_if_damaged(artifact)
    assert store.stored(artifact.sha256) is None
    assert not artifact.path.exists()


def test_it_keeps_what_another_process_put_in_the_place_of_a_bad_one(store: PackageStore) -> None:
    """The new one comes between reading the bad one and forgetting it."""
    artifact = put(store, "one")
    artifact.path.write_bytes(b"ARTIFACT")
    with ThreadPoolExecutor(1) as threads:
        with store._lock():
            discarding = threads.submit(store.discard_if_damaged, artifact)
            time.sleep(0.3)
            assert not discarding.done()
            sound = artifact.path.with_suffix(".sound")
            sound.write_bytes(b"artifact")
            os.replace(sound, artifact.path)
        assert discarding.result(timeout=5)
    assert store.stored(artifact.sha256) == artifact
    assert artifact.path.read_bytes() == b"artifact"


def test_it_prunes_what_is_neither_kept_nor_used_of_late(store: PackageStore) -> None:
    kept, used, old = (put(store, name) for name in ("kept", "used", "old"))
    orphan = store.folder / "ab" / f"{'ab' * 32}.tar.gz"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"")
    for path in store.folder.glob("??/*"):
        os.utime(path, (1, 1))
    assert store.stored(used.sha256) == used
    assert store.prune({kept.sha256}) == 2
    assert [store.stored(each.sha256) for each in (kept, used, old)] == [kept, used, None]
    assert not orphan.exists()
    assert not old.path.exists()


def test_it_prunes_nothing_while_the_store_is_new(store: PackageStore) -> None:
    put(store, "one")
    assert store.prune(set()) == 0
    assert PackageStore(store.folder / "fresh").prune(set()) == 0


def test_it_keeps_the_first_of_two_artifacts_of_one_package(store: PackageStore) -> None:
    first = put(store, "one", b"first")
    assert put(store, "one", b"second") == first
    assert first.path.read_bytes() == b"first"
    assert list(store.temporary_folder.iterdir()) == []


def test_it_sweeps_what_a_dead_writer_left_and_leaves_a_live_ones(store: PackageStore) -> None:
    program = (
        "import sys, time; from pathlib import Path; from django.conf import settings; settings.configure();"
        "from deploys.packages.store import PackageStore; store = PackageStore(Path(sys.argv[1]))\n"
        "with store.room(), store.draft() as (file, draft):\n"
        "    print(draft, flush=True)\n"
        "    time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(store.folder)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    with writer.stdout as stdout:
        draft = Path(stdout.readline().strip())
    with store.room():
        assert draft.exists()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert draft.exists()
    with store.room():
        assert not draft.exists()


def test_processes_that_fetch_one_package_at_once_end_with_one_artifact(
    store: PackageStore, package_host: PackageHost
) -> None:
    url = package_host.add("p.tar.gz", package({"data": os.urandom(300_000)}))
    with ThreadPoolExecutor(8) as threads:
        artifacts = list(threads.map(lambda _: fetch.fetch(url), range(8)))
    assert len(set(artifacts)) == 1
    assert sha256(artifacts[0].path.read_bytes()) == artifacts[0].artifact_sha256
    assert list(store.temporary_folder.iterdir()) == []


def test_a_reader_never_sees_half_an_artifact(store: PackageStore) -> None:
    """Artifacts come and go under it; each time it finds one, the bytes are the recorded ones."""
    end = time.monotonic() + 1.5
    with ThreadPoolExecutor(4) as threads:

        def write() -> None:
            while time.monotonic() < end:
                put(store, "one", os.urandom(50_000))
                store.prune(set(), grace_seconds=0)

        writers = [threads.submit(write) for _ in range(3)]
        seen = 0
        while time.monotonic() < end:
            artifact = store.stored(sha256(b"one"))
            if artifact is not None and store.stored(sha256(b"one")) == artifact:
                seen += 1
        assert [writer.result() for writer in writers] == [None] * 3
    assert seen > 0


# A full disk.


@pytest.fixture
def small_disk(store: PackageStore) -> Iterator[Path]:
    """The store's folder on a file system of 4 MiB."""
    store.folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", store.folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield store.folder
    subprocess.run(["umount", "-l", store.folder], check=True)


def test_a_disk_too_small_for_the_download_is_named_and_left_clean(
    store: PackageStore, small_disk: Path, package_host: PackageHost
) -> None:
    with pytest.raises(PackageError) as refusal:
        fetch.fetch(package_host.add("p.tar.gz", package({"data": os.urandom(6_000_000)})))
    assert refusal.value.code == "internal_error"
    assert str(small_disk) in str(refusal.value)
    assert "Free space" in str(refusal.value)
    assert shutil.disk_usage(small_disk).used < 50_000


def test_a_disk_too_small_for_the_artifact_is_named_and_works_again_with_room(
    store: PackageStore, small_disk: Path, package_host: PackageHost
) -> None:
    url = package_host.add("p.tar.gz", package({"data": os.urandom(2_500_000)}))
    with pytest.raises(PackageError) as refusal:
        fetch.fetch(url)
    assert refusal.value.code == "internal_error"
    assert "no room left" in str(refusal.value)
    assert shutil.disk_usage(small_disk).used < 50_000
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    assert fetch.fetch(url).size_bytes > 2_500_000
