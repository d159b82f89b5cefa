"""The demo's first deploy, through the API like any other."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from deploys.models import Operation
from releasesite.demo.api import Api
from releasesite.demo.errors import DemoError
from releasesite.demo.instances import current_version
from releasesite.demo.packages import SERVICE
from releasesite.demo.registry import registered

FIRST_VERSION = "v1.0.0"
SECONDS = 60.0


def deploy_first_version(api: Api, *, package_url: Callable[[str], str]) -> str:
    """Deploy v1.0.0 wherever nothing was ever released; says what was done."""
    wait_for_unfinished_operations()
    waiting = without_release()
    if not waiting:
        return "not needed, every instance has a release"
    deploy_id = f"demo-{FIRST_VERSION}-{secrets.token_hex(3)}"
    api.deploy(
        service=SERVICE,
        version=FIRST_VERSION,
        instances=waiting,
        package_url=package_url(FIRST_VERSION),
        deploy_id=deploy_id,
    )
    api.wait_for_deploy(deploy_id, seconds=SECONDS)
    return f"{FIRST_VERSION} on {', '.join(waiting)}"


def wait_for_unfinished_operations() -> None:
    """An earlier run that was killed may have left some; the worker is finishing them now."""
    deadline = time.monotonic() + SECONDS
    while Operation.objects.filter(service__name=SERVICE, finished_at__isnull=True).exists():
        if time.monotonic() > deadline:
            raise DemoError(f"An operation of an earlier run is still unfinished after {SECONDS:g} s.")
        time.sleep(0.1)


def without_release() -> list[str]:
    return [each.instance_id for each in registered() if not (each.running_version and current_version(each))]
