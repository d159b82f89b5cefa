"""A real OpenSSH server on a free loopback port, with keys and a folder of its own.

As root it lets in an account made for tests, which is not root; else the account that runs the tests.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.ports import accepts, free_port

TEST_ACCOUNT = "release-test-node"
START_SECONDS = 10
CONFIGURATION = """\
ListenAddress {host}:{port}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
AllowUsers {user}
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 2000:30:4000
MaxSessions 2000
MaxAuthTries 20
LoginGraceTime 60
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""


class SshServer:
    """host, port, user, private_key and host_key are what a Node and RELEASE_SSH_KEY_FILE need."""

    def __init__(
        self,
        folder: Path,
        *,
        shell: str = "",
        options: Sequence[str] = (),
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        """shell: of the account that logs in, '' for the usual one. options: further lines of sshd's configuration.

        within: makes the command behind it run elsewhere, in another network, where `host` is the address.
        """
        self.folder = folder
        self.host = host
        self._within = within
        self.user = _account_with(shell) if shell else _account()
        self._options = options
        self.port = free_port()
        self.private_key = _new_key(folder / "user_key")
        self._host_private_key = _new_key(folder / "host_key")
        self._write_configuration()
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._writable_folder("nodes")

    @property
    def host_key(self) -> str:
        """`ssh-ed25519 AAAA…`, as `Node.ssh_host_key` wants it."""
        return " ".join(self._host_private_key.with_suffix(".pub").read_text().split()[:2])

    @property
    def node_fields(self) -> dict[str, str | int]:
        """For Node(name=…, **sshd.node_fields)."""
        return {
            "host": self.host,
            "transport": "ssh",
            "ssh_user": self.user,
            "ssh_port": self.port,
            "ssh_host_key": self.host_key,
        }

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def home(self) -> Path:
        """The login's own folder."""
        return Path(pwd.getpwnam(self.user).pw_dir)

    def node_root(self) -> str:
        """A new empty folder that the login account owns: good as a deploy_root."""
        return str(self._writable_folder(f"nodes/{next(self._numbers)}"))

    def change_host_key(self) -> None:
        """From the next connection on; takes a restart, which open connections do not survive."""
        self.stop()
        for key in (self._host_private_key, self._host_private_key.with_suffix(".pub")):
            key.unlink()
        _new_key(self._host_private_key)
        self.start()

    def reconfigure(self, old: str, new: str) -> None:
        """Of its configuration's text; takes a restart."""
        configuration = self.folder / "sshd_config"
        configuration.write_text(configuration.read_text().replace(old, new))
        self.stop()
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                (*self._within, _program("sshd"), "-D", "-e", "-f", str(self.folder / "sshd_config")),
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        deadline = time.monotonic() + START_SECONDS
        while not ("Server listening" in self.log if self._within else accepts(self.port)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd does not start:\n{self.log}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Takes open connections and what runs in them down too."""
        if self._process is None:
            return
        below = self.descendants()
        self._process.kill()
        self._process.wait()
        for process in below:
            _kill(process)
        self._process = None

    def descendants(self) -> list[psutil.Process]:
        """Its connections, and what runs in them."""
        return psutil.Process(self._process.pid).children(recursive=True) if self._process else []

    def drop_connections(self) -> None:
        """The server lives on; what ran in the connections does so too, if it survives a lost peer."""
        assert self._process is not None
        for child in psutil.Process(self._process.pid).children():
            _kill(child)

    def _write_configuration(self) -> None:
        (self.folder / "authorized_keys").write_text(self.private_key.with_suffix(".pub").read_text())
        configuration = CONFIGURATION.format(host=self.host, port=self.port, folder=self.folder, user=self.user)
        configuration += "".join(f"{option}\n" for option in self._options)
        path = self.folder / "sshd_config"
        # OpenSSH 9.8 slows down a source that often fails; 9.2 does not know the word.
        path.write_text(configuration + "PerSourcePenalties no\n")
        if subprocess.run((_program("sshd"), "-t", "-f", str(path)), capture_output=True).returncode != 0:
            path.write_text(configuration)

    def _writable_folder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(mode=0o755)
        account = pwd.getpwnam(self.user)
        os.chown(folder, account.pw_uid, account.pw_gid)
        return folder


@contextmanager
def ssh_server(
    *, shell: str = "", options: Sequence[str] = (), host: str = "127.0.0.1", within: Sequence[str] = ()
) -> Iterator[SshServer]:
    """Not under pytest's tmp_path: that is closed to the login account."""
    folder = Path(tempfile.mkdtemp(prefix="release-sshd-"))
    folder.chmod(0o755)
    server = SshServer(folder, shell=shell, options=options, host=host, within=within)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sshd() -> Iterator[SshServer]:
    """One for the whole run: do not stop it or change its key; `own_sshd` is for that."""
    with ssh_server() as server:
        yield server


@pytest.fixture
def own_sshd() -> Iterator[SshServer]:
    """One for this test alone."""
    with ssh_server() as server:
        yield server


def _account() -> str:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    try:
        pwd.getpwnam(TEST_ACCOUNT)
    except KeyError:
        # A password of `*` is none, yet not locked: sshd refuses a locked account. /tmp is there on every machine.
        options = ("--system", "--shell", "/bin/sh", "--home-dir", "/tmp", "--no-create-home", "--password", "*")
        subprocess.run((_program("useradd"), *options, TEST_ACCOUNT), check=True, capture_output=True)
    return TEST_ACCOUNT


def _account_with(shell: str) -> str:
    """One that has this login shell, and an empty home of its own, in each process of the tests. Needs root."""
    name = f"{TEST_ACCOUNT[:13]}{Path(shell).name}{os.environ.get('PYTEST_XDIST_WORKER', '')}"
    home = Path("/tmp") / f"{name}-home"
    _account()
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        options = ("--system", "--shell", shell, "--home-dir", str(home), "--no-create-home", "--password", "*")
        subprocess.run((_program("useradd"), *options, name), check=True, capture_output=True)
        account = pwd.getpwnam(name)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o755)
    os.chown(home, account.pw_uid, account.pw_gid)
    return name


def _new_key(path: Path) -> Path:
    subprocess.run((_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)), check=True)
    return path


def _program(name: str) -> str:
    """sshd insists on being called by its absolute path."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise RuntimeError(f"{name} is missing: install openssh-server (`make test` does, where it may)")
    return found


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
