"""Start a deploy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deploys.models import Operation
from deploys.operations.create import (
    NewOperation,
    create_operation,
    generated_id,
    same_operation,
)
from deploys.operations.identity import Asked
from deploys.operations.package_rules import package_problems
from deploys.operations.staged import package_on_nodes
from deploys.operations.ways_back import way_back_problems
from deploys.states import Kind, Until
from inventory.errors import InvalidRequest, NotFound, Problem
from inventory.instances.selection import find_instances, visible_service
from inventory.security.access import Access


@dataclass(frozen=True, kw_only=True)
class DeployRequest:
    """A deploy as asked for; shapes are checked already.

    sha256: hex digest that the package must have, or ''. signature: detached, by the service's signing key, or '' for
    the one beside the package. until: how far it goes. confirm_within: seconds, 0 for a deploy that nobody has to confirm.
    """

    service: str
    version: str
    instances: tuple[str, ...]
    package_url: str
    deploy_id: str | None = None
    sha256: str = ""
    signature: str = ""
    reason: str = ""
    until: Until = Until.SWITCHED
    confirm_within: int = 0


def start_deploy(*, access: Access, request: DeployRequest) -> Operation:
    """Store and queue a deploy, all or nothing; the same id with the same request gives the same operation again.

    Raises NotFound (service), InvalidRequest (instances, naming each; `sha256_required`, `signing_key_unset`,
    `nothing_to_revert_to`), Conflict (`deploy_id_reused`, `instance_busy`).
    """
    asked = _asked(request)
    public_id = request.deploy_id or generated_id(Kind.DEPLOY)
    if request.deploy_id:
        same = same_operation(kind=Kind.DEPLOY, public_id=public_id, asked=asked, access=access)
        if same is not None:
            return same
    service = visible_service(access, request.service)
    instance_pks, problems = find_instances(service, request.instances)
    problems += package_problems(service, sha256=request.sha256, signature=request.signature)
    if request.confirm_within:
        problems += way_back_problems(service, instance_pks, version=request.version)
    if problems:
        raise InvalidRequest(problems=problems)
    return create_operation(
        NewOperation(
            kind=Kind.DEPLOY,
            public_id=public_id,
            asked=asked,
            service=service,
            version=request.version,
            instance_ids=instance_pks,
            access=access,
            until=request.until,
            confirm_within=request.confirm_within,
            package_url=request.package_url,
            package=package_on_nodes(
                service,
                instance_pks,
                version=request.version,
                sha256=request.sha256,
                signature=request.signature,
            ),
            requested_sha256=request.sha256,
            signature=request.signature,
            reason=request.reason,
        )
    )


def deploy_problems(
    access: Access, *, service: str = "", instances: Sequence[str] = (), sha256: str = "", signature: str = ""
) -> list[Problem]:
    """What is wrong with these values of a request that can't be carried out for other reasons; '' was not given."""
    if not service:
        return []
    try:
        found = visible_service(access, service)
    except NotFound as error:
        return list(error.problems)
    return find_instances(found, instances)[1] + package_problems(found, sha256=sha256, signature=signature)


def _asked(request: DeployRequest) -> Asked:
    wanted: dict[str, object] = {
        "service": request.service,
        "version": request.version,
        "instances": sorted(request.instances),
        "package_url": request.package_url,
        "sha256": request.sha256,
    }
    # Left out when not given: ids from before these keys were there keep their fingerprint.
    signature = {"signature": request.signature} if request.signature else {}
    until = {"until": request.until.value} if request.until != Until.SWITCHED else {}
    confirm = {"confirm_within": request.confirm_within} if request.confirm_within else {}
    return wanted | signature | until | confirm
