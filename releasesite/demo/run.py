"""`manage.py demo`, top to bottom: start everything in order, watch it, stop all of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.conf import settings

from releasesite.demo import children, database, deploying, instances, lock, login, packages, ports, registry
from releasesite.demo.api import Api
from releasesite.demo.children import Child
from releasesite.demo.errors import DemoError, Interrupted
from releasesite.demo.layout import Layout, shown, write_secret
from releasesite.demo.processes import Processes, processes
from releasesite.demo.screen import closing_lines, say, stage
from releasesite.demo.signals import StopSignals
from releasesite.models import TokenScope

PACKAGE_PORT = 8700
READY_SECONDS = 60
STOP_SECONDS = 35
RESTARTS_A_MINUTE = 3


def run(*, port: int) -> None:
    """Returns after Ctrl-C or SIGTERM; raises DemoError for whatever else stops the demo."""
    layout = Layout(data_dir=settings.DATA_DIR)
    layout.make()
    try:
        held = lock.acquire(layout, says=f"http://127.0.0.1:{port}")
    except lock.AlreadyRunning as other:
        raise DemoError(f"The demo in {shown(layout.data_dir)} is running already: {other}") from None
    with held:
        if not ports.is_free(port):
            raise DemoError(taken(port))
        demo = Demo(layout=layout, port=port, package_port=stable_package_port(layout, avoid=port))
        demo.signals.listen()
        try:
            demo.start()
            demo.watch()
        except Interrupted:
            say("\n")
        finally:
            demo.stop()


def taken(port: int) -> str:
    other = next(candidate for candidate in range(port + 1, 65_536) if ports.is_free(candidate))
    return f"Port {port} is taken by {ports.holder(port)}. Stop that, or take another one: PORT={other} make run"


def stable_package_port(layout: Layout, *, avoid: int) -> int:
    """The earlier run's where it is free: a rollback may still download from the URL of back then."""
    try:
        preferred = int(layout.package_port.read_text())
    except (OSError, ValueError):
        preferred = PACKAGE_PORT
    port = ports.free_port(preferred, avoid=(avoid,))
    layout.package_port.write_text(f"{port}\n")
    return port


@dataclass(kw_only=True)
class Demo:
    layout: Layout
    port: int
    package_port: int
    signals: StopSignals = field(default_factory=StopSignals)
    has_begun: bool = False
    processes: Processes | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        started = time.monotonic()
        say("The release execution system, with a demo service on this machine\n")
        with stage("database") as done:
            done(database.connect(self.layout))
        self.has_begun = True
        with stage("schema") as done:
            done(database.migrate())
        running = self.processes = processes(self.layout, port=self.port, package_port=self.package_port)
        running.web.start()  # it loads while the rest is prepared
        with stage("accounts") as done:
            password = login.admin_password(self.layout)
            token = login.new_token(name="demo", scope=TokenScope.DEPLOY)
            write_secret(self.layout.token, token + "\n")
            done(f"user {login.ADMIN}, a token in {shown(self.layout.token)}")
        with stage("instances") as done:
            for line in self.bring_up_instances():
                done(line)
        self.await_processes(running, Api(url=self.url, token=token))
        say(f"\nReady after {time.monotonic() - started:.1f} s.")
        say(
            closing_lines(
                url=self.url,
                password=password,
                token=token,
                token_file=shown(self.layout.token),
                package_url=self.package_url,
                instances=[(each.instance_id, each.port, each.running_version) for each in registry.registered()],
                run_id=secrets.token_hex(3),
            )
        )

    def bring_up_instances(self) -> list[str]:
        instances.stop_all(self.layout)
        found = registry.register(self.layout, avoid_ports=(self.port, self.package_port))
        report_token = login.new_token(name="demo-report", scope=TokenScope.REPORT, service=found[0].service)
        instances.configure(self.layout, found, api=self.url, token=report_token)
        problems = instances.bring_back(found)
        return [", ".join(f"{each.instance_id} on port {each.port}" for each in found), *problems]

    def await_processes(self, running: Processes, api: Api) -> None:
        with stage("packages") as done:
            packages.build_all(self.layout.packages)
            running.packages.start()
            running.worker.start()  # not sooner: it may have work for the instances at once
            self.wait_for(running.packages, lambda: not ports.is_free(self.package_port))
            names = ", ".join(version.name for version in packages.VERSIONS)
            done(f"{names} on http://127.0.0.1:{self.package_port}")
        with stage("web") as done:
            self.wait_for(running.web, lambda: api.is_up("/healthz"))
            done(self.url)
        with stage("worker") as done:
            self.wait_for(running.worker, lambda: api.is_up("/readyz"))
            done("ready")
        with stage("deploy") as done:
            done(deploying.deploy_first_version(api, package_url=self.package_url))

    def package_url(self, version: str) -> str:
        return f"http://127.0.0.1:{self.package_port}/{packages.package_name(version)}"

    def wait_for(self, child: Child, is_up: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_up():
            if child.exit_status() is not None:
                raise DemoError(
                    f"{child.name} ended at its start; the end of {shown(child.log)}:\n{child.end_of_log()}"
                )
            if time.monotonic() > deadline:
                raise DemoError(
                    f"{child.name} is not ready after {READY_SECONDS} s; the end of {shown(child.log)}:\n"
                    f"{child.end_of_log()}"
                )
            time.sleep(0.05)

    def watch(self) -> None:
        """Until a signal comes. A process that ends unasked is started again, unless it keeps ending."""
        while True:
            time.sleep(0.5)
            for child in self.processes.all if self.processes else ():
                if child.exit_status() is not None:
                    self.start_again(child)

    def start_again(self, child: Child) -> None:
        what = f"{child.name} ended unasked (exit status {child.exit_status()}, see {shown(child.log)})"
        if child.starts_within(60) > RESTARTS_A_MINUTE:
            raise DemoError(f"{what}, repeatedly. Its last lines:\n{child.end_of_log()}")
        say(f"{what}: starting it again")
        child.start()

    def stop(self) -> None:
        """The worker first: it may be in the middle of a restart of an instance."""
        self.signals.begin_stop()
        if not self.has_begun:
            return
        started = self.processes.all if self.processes else ()
        with stage("stopping") as done:
            killed = children.stop(started, deadline_seconds=STOP_SECONDS, hurry=lambda: self.signals.hurry)
            instances.stop_all(self.layout)
            database.let_go(self.layout)
            done("everything stopped" + (f"; had to kill {', '.join(killed)}" if killed else ""))
