"""A scheduler as somebody writes it who has nothing but a client generated from /v1/schema: a canary, then batches.

It sends a call again when no answer comes, and trusts the ids of its deploys that nothing happens twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import httpx
from release_api import AuthenticatedClient
from release_api.api.deploys import execute_deploy, get_deploy_status
from release_api.api.services_and_instances import list_service_instances
from release_api.models import (
    DatabaseUnavailable,
    DeployStatus,
    DeployStatusStatus,
    Execute,
    ExecuteDeployBadRequest,
    ExecuteDeployConflict,
    ServiceInstances,
    StartedDeploy,
    TargetError,
    TooManyCalls,
)

T = TypeVar("T")
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.05


class Refused(Exception):
    """codes: of every error, with the instance that it is about."""

    def __init__(self, answer: ExecuteDeployBadRequest | ExecuteDeployConflict) -> None:
        super().__init__("; ".join(error.detail for error in answer.errors))
        self.codes = [(error.code.value, error.instance_id or "") for error in answer.errors]


class Stopped(Exception):
    """A part of the roll-out has failed; what comes after it was not begun."""

    def __init__(self, status: DeployStatus) -> None:
        super().__init__(f"{status.deploy_id} is {status.status.value}")
        self.errors = [each.error.code.value for each in status.instances if isinstance(each.error, TargetError)]


def roll_out(client: AuthenticatedClient, *, service: str, version: str, package_url: str, size: int) -> list[str]:
    """The ids of the deploys that it took. Raises Refused, Stopped."""
    found = _ask(lambda: list_service_instances.sync(service, client=client))
    if not isinstance(found, ServiceInstances):
        raise TypeError(found)
    deploys = []
    for number, part in enumerate(_parts([each.instance_id for each in found.instances], size)):
        deploy_id = f"{version}-part-{number}"
        wanted = Execute(
            service=service, version=version, instances=list(part), package_url=package_url, deploy_id=deploy_id
        )
        status = deploy(client, wanted)
        if status.status is not DeployStatusStatus.COMPLETED:
            raise Stopped(status)
        deploys.append(status.deploy_id)
    return deploys


def deploy(client: AuthenticatedClient, wanted: Execute) -> DeployStatus:
    """Until it has ended, however. Raises Refused."""
    answer = _ask(lambda: execute_deploy.sync(client=client, body=wanted))
    if isinstance(answer, (ExecuteDeployBadRequest, ExecuteDeployConflict)):
        raise Refused(answer)
    if not isinstance(answer, StartedDeploy):
        raise TypeError(answer)
    while True:
        status = _ask(lambda: get_deploy_status.sync(answer.deploy_id, client=client))
        if not isinstance(status, DeployStatus):
            raise TypeError(status)
        if status.completed_at is not None:
            return status
        time.sleep(PAUSE_SECONDS)


def _parts(instances: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """One first, then the others, `size` at once."""
    yield instances[:1]
    for start in range(1, len(instances), size):
        yield instances[start : start + size]


def _ask(call: Callable[[], T]) -> T:
    """Its answer, once there is one."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            answer = call()
        except httpx.TransportError:
            answer = None
        if answer is not None and not isinstance(answer, (DatabaseUnavailable, TooManyCalls)):
            return answer
        if time.monotonic() > end:
            raise TimeoutError("No answer has come.")
        time.sleep(PAUSE_SECONDS)
