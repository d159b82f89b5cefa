"""Nobody else on the machine reads the data folder; the embedded server, which is another account for root, gets through."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from releasesite import data_folder
from releasesite.embedded_postgres.account import Account
from releasesite.embedded_postgres.server import EmbeddedServer
from tests.releasesite.test_embedded_postgres import SETTINGS, User
from tests.releasesite.test_settings import shown

NOBODY = Account(uid=65_534, gid=65_534)
DATABASE_URL = "postgres://nobody@127.0.0.1:1/none"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs another account")


@pytest.fixture
def data() -> Iterator[Path]:
    """Not under tmp_path, whose parents are private. As earlier versions left it."""
    home = Path(tempfile.mkdtemp(prefix="release-data-"))
    home.chmod(0o755)
    folder = home / "data"
    (folder / "packages").mkdir(parents=True)
    for each in (folder, folder / "packages"):
        each.chmod(0o755)
    yield folder
    shutil.rmtree(home)


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def may_look(folder: Path) -> bool:
    return NOBODY.run("ls", str(folder), cwd=Path("/")).returncode == 0


def test_at_the_start_it_is_made_for_its_own_account_alone(tmp_path: Path) -> None:
    shown(tmp_path / "new", "settings.DATA_DIR", SECRET_KEY="x" * 60, DATABASE_URL=DATABASE_URL)

    assert mode(tmp_path / "new") == 0o700


def test_at_the_start_what_was_open_is_closed(data: Path) -> None:
    shown(data, "settings.DATA_DIR", DATABASE_URL=DATABASE_URL)

    assert (mode(data), mode(data / "packages")) == (0o700, 0o700)
    assert mode(data / "secret-key") == 0o600


def test_what_a_group_was_given_stays(data: Path) -> None:
    data.chmod(0o750)

    data_folder.prepare(data, has_database=False)

    assert mode(data) == 0o750


def test_a_folder_that_holds_nothing_of_ours_is_left_alone(data: Path) -> None:
    shutil.rmtree(data / "packages")

    data_folder.prepare(data, has_database=False)

    assert mode(data) == 0o755


def test_a_folder_that_cannot_be_made_is_for_whoever_needs_it_to_tell(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    data_folder.prepare(tmp_path / "file" / "data", has_database=False)


@as_root
def test_a_folder_of_somebody_else_is_left_alone(data: Path) -> None:
    os.chown(data, NOBODY.uid, NOBODY.gid)

    data_folder.prepare(data, has_database=False)

    assert mode(data) == 0o755


@as_root
@pytest.mark.parametrize("is_new", [True, False])
def test_the_embedded_server_gets_through_and_nobody_looks(data: Path, *, is_new: bool) -> None:
    folder = data / "new" if is_new else data
    data_folder.prepare(folder, has_database=True)
    server = EmbeddedServer(folder / "postgres")

    server.create(SETTINGS, durable=False)
    user = User(folder / "postgres")

    assert user.said()[:2] == ["ready", "1"]
    user.leave()
    server.release(wait=True)
    assert may_look(data.parent)
    assert not may_look(folder)


@as_root
def test_a_process_with_another_database_shuts_no_running_server_out(data: Path) -> None:
    server = EmbeddedServer(data / "postgres")
    server.create(SETTINGS, durable=False)
    user = User(data / "postgres")

    shown(data, "settings.DATA_DIR", DATABASE_URL=DATABASE_URL)

    assert NOBODY.run("stat", str(data / "postgres"), cwd=Path("/")).returncode == 0
    user.leave()
    server.release(wait=True)
