"""The processes of the system, as the demo runs them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from django.conf import settings

from releasesite.demo.children import Child
from releasesite.demo.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Processes:
    packages: Child
    web: Child
    worker: Child

    @property
    def all(self) -> tuple[Child, ...]:
        return (self.packages, self.web, self.worker)


def processes(layout: Layout, *, port: int, package_port: int) -> Processes:
    env = environment(layout, package_port=package_port)

    def child(name: str, *argv: str) -> Child:
        return Child(
            name=name, argv=[sys.executable, *argv], env=env, cwd=settings.BASE_DIR, log=layout.logs / f"{name}.log"
        )

    web = ("-m", "gunicorn", "releasesite.wsgi", f"--bind=127.0.0.1:{port}", "--graceful-timeout=5")
    return Processes(
        packages=child("packages", "-m", "releasesite.demo.package_host", str(layout.packages), str(package_port)),
        web=child("web", *web),
        worker=child("worker", "manage.py", "worker"),
    )


def environment(layout: Layout, *, package_port: int) -> dict[str, str]:
    """Ours, with the demo's package host allowed, and loopback among the web's own names."""
    added = {
        "DJANGO_SETTINGS_MODULE": "releasesite.settings",
        "PYTHONUNBUFFERED": "1",
        "RELEASE_DATA_DIR": str(layout.data_dir),
        "RELEASE_LOCAL_NODES": "1",  # the demo's instances run on this machine
        "RELEASE_PACKAGE_HOSTS": ",".join([*settings.PACKAGE_HOSTS, f"127.0.0.1:{package_port}"]),
    }
    if os.environ.get("ALLOWED_HOSTS"):
        added["ALLOWED_HOSTS"] = os.environ["ALLOWED_HOSTS"] + ",127.0.0.1"
    return {**os.environ, **added}
