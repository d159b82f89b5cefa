"""Start rollbacks. Cancel and retry stand in `deploys.operations`: they are the same for both kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from deploys.models import Operation, Package
from deploys.operations.create import NewOperation, create_operation, generated_id, same_operation
from deploys.operations.identity import Asked
from deploys.operations.package_rules import package_problems
from deploys.operations.reauth_rule import check_password_given
from deploys.operations.way_back import (
    about_to_leave,
    past_of,
    undone_by_rollback,
    unfinished_deploys,
    version_before,
)
from deploys.states import Kind
from inventory.drift import PROCESS_DIFFERS
from inventory.errors import InvalidRequest, NotFound, Problem
from inventory.instances.selection import find_instances, visible_instance, visible_service
from inventory.models import Instance, Service
from inventory.security.access import Access
from inventory.security.redaction import scrub

_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class InstanceRollbackRequest:
    """target_version None: the version that the instance ran before. hold: keep deploys of its service out from then on."""

    instance_id: str
    target_version: str | None = None
    package_url: str = ""
    rollback_id: str | None = None
    reason: str = ""
    hold: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchRollbackRequest:
    """instances None: every instance of the service that does not run the target version.

    from_version: of those, only the ones that run this version. hold: keep deploys of the service out from then on.
    has_given_password: the person at the console did so for this very rollback.
    """

    service: str
    target_version: str
    package_url: str = ""
    instances: tuple[str, ...] | None = None
    from_version: str | None = None
    rollback_id: str | None = None
    reason: str = ""
    hold: bool = False
    has_given_password: bool = False


def start_instance_rollback(*, access: Access, request: InstanceRollbackRequest) -> Operation:
    """Raises NotFound, InvalidRequest (`no_previous_version`, `package_unknown`), Conflict (`instance_busy`)."""
    asked = {
        "instance_id": request.instance_id,
        "target_version": request.target_version,
        "package_url": request.package_url,
        **_held(request.hold),
    }
    public_id = request.rollback_id or generated_id(Kind.ROLLBACK)
    if request.rollback_id:
        same = same_operation(kind=Kind.ROLLBACK, public_id=public_id, asked=asked, access=access)
        if same is not None:
            return same
    instance = visible_instance(access, request.instance_id)
    version = request.target_version or _version_before(instance)
    return _start(
        access=access,
        public_id=public_id,
        asked=asked,
        service=instance.service,
        version=version,
        instances=[instance],
        package_url=request.package_url,
        from_version=instance.running_version,
        reason=request.reason,
        hold=request.hold,
        problems=[],
    )


def start_batch_rollback(*, access: Access, request: BatchRollbackRequest) -> Operation:
    """Raises NotFound (service), InvalidRequest (instances, `no_instance_matches`, `package_unknown`), Conflict.

    Forbidden `password_required`: so many instances at once take a person's password.
    """
    asked = {
        "service": request.service,
        "target_version": request.target_version,
        "package_url": request.package_url,
        "instances": None if request.instances is None else sorted(request.instances),
        "from_version": request.from_version,
        **_held(request.hold),
    }
    public_id = request.rollback_id or generated_id(Kind.ROLLBACK)
    if request.rollback_id:
        same = same_operation(kind=Kind.ROLLBACK, public_id=public_id, asked=asked, access=access)
        if same is not None:
            return same
    service = visible_service(access, request.service)
    instances, problems = _selected_instances(service, request)
    given = request.has_given_password
    check_password_given(access, Kind.ROLLBACK, len(instances), has_given_password=given)
    return _start(
        access=access,
        public_id=public_id,
        asked=asked,
        service=service,
        version=request.target_version,
        instances=instances,
        package_url=request.package_url,
        from_version=request.from_version or "",
        reason=request.reason,
        hold=request.hold,
        problems=problems,
    )


def instance_rollback_problems(access: Access, *, instance_id: str = "") -> list[Problem]:
    """What is wrong with the instance of a request that can't be carried out for other reasons; '' was not given."""
    try:
        if instance_id:
            visible_instance(access, instance_id)
    except NotFound as error:
        return list(error.problems)
    return []


def batch_rollback_problems(access: Access, *, service: str = "", instances: Sequence[str] = ()) -> list[Problem]:
    """The same, of service and instances."""
    try:
        return find_instances(visible_service(access, service), instances)[1] if service else []
    except NotFound as error:
        return list(error.problems)


def _held(hold: bool) -> dict[str, bool]:
    """For a fingerprint. Left out when not asked for: ids from before there were holds keep theirs."""
    return {"hold": True} if hold else {}


def _version_before(instance: Instance) -> str:
    deploy = unfinished_deploys(instances=[instance.pk]).get(instance.pk)
    version = version_before(past_of(instance), deploy)
    if not version:
        problem = Problem(
            code="no_previous_version",
            detail=" ".join(
                (
                    _("Instance '%(instance)s' has run no other version before that it could go back to.")
                    % {"instance": instance.instance_id},
                    *_was_elsewhere(instance),
                    _("Name a target_version."),
                )
            ),
            attr="target_version",
            facts={"instance_id": instance.instance_id},
        )
        raise InvalidRequest(problems=[problem])
    return version


def _was_elsewhere(instance: Instance) -> list[str]:
    """What another tool had linked is no version of ours, and no release that we could check."""
    if not instance.found_current:
        return []
    told = _(
        "Before our first deploy `current` led to %(path)s, where a rollback can't go: link it by hand and sync the service."
    )
    return [told % {"path": scrub(instance.found_current)}]


def _selected_instances(service: Service, request: BatchRollbackRequest) -> tuple[Sequence[Instance], list[Problem]]:
    """The instances that a batch request means, and what is wrong with how it says so."""
    problems: list[Problem] = []
    if request.instances is None:
        instances: Sequence[Instance] = list(_not_running(service, request.target_version))
    else:
        found, problems = find_instances(service, request.instances)
        instances = list(Instance.objects.in_bulk(found).values())
    if request.from_version is None:
        return instances, problems
    matching = [instance for instance in instances if instance.running_version == request.from_version]
    return matching, problems if matching else [*problems, _none_runs(request.from_version)]


def _none_runs(version: str) -> Problem:
    detail = _("None of the instances meant runs '%(version)s'.") % {"version": version}
    return Problem(code="no_instance_matches", detail=detail, attr="from_version")


def _not_running(service: Service, version: str) -> QuerySet[Instance]:
    """Instances that do not run this version, or that an unfinished deploy is about to take away from it."""
    return service.instances.listed().filter(~Q(running_version=version) | PROCESS_DIFFERS | Q(about_to_leave(version)))


def _start(
    *,
    access: Access,
    public_id: str,
    asked: Asked,
    service: Service,
    version: str,
    instances: Sequence[Instance],
    package_url: str,
    from_version: str,
    reason: str,
    hold: bool,
    problems: Sequence[Problem],
) -> Operation:
    """problems: what is wrong with the request so far. Raises InvalidRequest with them and those of the package."""
    package, more = _known_package(service, version, package_url, instances)
    if problems or more:
        raise InvalidRequest(problems=[*problems, *more])
    return create_operation(
        NewOperation(
            kind=Kind.ROLLBACK,
            public_id=public_id,
            asked=asked,
            service=service,
            version=version,
            instance_ids=[instance.pk for instance in instances],
            access=access,
            from_version=from_version,
            package_url=package_url,
            package=package,
            reason=reason,
            hold=hold,
            undoes_id=undone_by_rollback([instance.pk for instance in instances], to=version),
        )
    )


def _known_package(
    service: Service, version: str, package_url: str, instances: Sequence[Instance]
) -> tuple[Package | None, list[Problem]]:
    """The version's pinned package; None for one that is to come, or that stands on all of the instances, found there.

    With `package_unknown` when there is nothing to take it from, and `sha256_required` when that would be bytes that
    nobody has named the digest of.
    """
    package = service.packages.filter(version=version).first()
    if package is not None:
        return package, []
    if package_url:
        return None, package_problems(service, sha256="", signature="")
    missing = [instance.instance_id for instance in instances if instance.found_release != version]
    return None, [_package_unknown(service, version, _though_found(instances, missing))] if missing else []


def _package_unknown(service: Service, version: str, though_found: str) -> Problem:
    told = (
        _(
            "Version '%(version)s' of '%(service)s' was never released here, so its package is unknown, and it was not "
            "found on %(instances)s."
        )
        if though_found
        else _("Version '%(version)s' of '%(service)s' was never released here, so its package is unknown.")
    )
    facts = {"version": version, "service": service.name, "instances": though_found}
    return Problem(
        code="package_unknown",
        detail=" ".join((told % facts, _("Give a package_url, or choose a version that was released."))),
        attr="target_version",
    )


def _though_found(instances: Sequence[Instance], missing: Sequence[str]) -> str:
    """On which it was not, where another tool had installed it on some of them."""
    if len(missing) == len(instances):
        return ""
    return ", ".join(missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
