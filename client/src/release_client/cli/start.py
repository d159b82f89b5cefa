"""`release deploy`, `release rollback`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from release_client.answers import Kind
from release_client.cli.command import Session, command
from release_client.cli.options import InstanceIds, PackageUrl, Reason, Service, Sha256, Timeout, Wait, option
from release_client.cli.progress import wait as wait_for
from release_client.client import new_id
from release_client.errors import Misused

OperationId = Annotated[
    str | None, option("Its id, to send the same again safely; left out, one is made.", "--id", metavar="ID")
]


class Until(StrEnum):
    checked = "checked"
    staged = "staged"
    switched = "switched"


def add_to(app: typer.Typer) -> None:
    command(app, deploy)
    command(app, rollback)


def deploy(
    session: Session,
    service: Service,
    version: Annotated[str, typer.Argument(metavar="VERSION")],
    package_url: Annotated[str, option("Where the package is.", "--package-url", metavar="URL")],
    instance: InstanceIds = None,
    all_instances: Annotated[bool, option("Every instance that the service has now.", "--all")] = False,
    operation_id: OperationId = None,
    sha256: Sha256 = None,
    signature: Annotated[
        str | None, option("Of the digest, by the service's key.", "--signature", metavar="TEXT")
    ] = None,
    until: Annotated[Until | None, option("Look only, stage only, or switch (the default).", "--until")] = None,
    confirm_within: Annotated[
        int | None, option("Go back by itself unless confirmed by then.", "--confirm-within", metavar="SECONDS")
    ] = None,
    reason: Reason = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> int | None:
    """Put a version of a service on instances."""
    if bool(instance) == all_instances:
        raise Misused("Which instances? Give --instance ID, once for each, or --all.")
    deploy_id = operation_id or new_id("deploy")
    chosen = instance or [each["instance_id"] for each in session.client.instances(service)["instances"]]
    if not chosen:
        raise Misused(f"{service} has no instance yet: add some to the inventory (release inventory push).")
    start = lambda: session.client.deploy(  # noqa: E731
        service, version, chosen, package_url, deploy_id=deploy_id, sha256=sha256, signature=signature,
        until=until.value if until else None, confirm_within=confirm_within, reason=reason,
    )  # fmt: skip
    what = f"{service} {version} on {_counted(chosen)}"
    return _start(session, "deploy", deploy_id, what, start, wait=wait, timeout=timeout)


def rollback(
    session: Session,
    service: Annotated[
        str | None,
        typer.Argument(metavar="SERVICE", help="All of it that does not run the version.", show_default=False),
    ] = None,
    instance: InstanceIds = None,
    to: Annotated[
        str | None, option("Left out, of one instance: what it ran before.", "--to", metavar="VERSION")
    ] = None,
    from_version: Annotated[str | None, option("Only what runs this version.", "--from", metavar="VERSION")] = None,
    package_url: PackageUrl = None,
    hold: Annotated[bool, option("Let no deploy of the service begin after it (release unhold).", "--hold")] = False,
    operation_id: OperationId = None,
    reason: Reason = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> int | None:
    """Go back: a service's instances to a version, or one instance to what it ran before."""
    rollback_id = operation_id or new_id("rollback")
    given: dict[str, Any] = {
        "rollback_id": rollback_id, "package_url": package_url, "hold": hold or None, "reason": reason,
    }  # fmt: skip
    if service is None:
        one = _only(instance, from_version)
        start: Callable[[], Any] = lambda: session.client.roll_back_instance(one, to, **given)  # noqa: E731
        what = f"{one} to {to or 'what it ran before'}"
    else:
        if to is None:
            raise Misused(f"To which version? Give --to VERSION. What runs now: release versions {service}")
        start = lambda: session.client.roll_back(  # noqa: E731
            service, to, instances=instance, from_version=from_version, **given
        )
        what = f"{service} to {to}"
    return _start(session, "rollback", rollback_id, what, start, wait=wait, timeout=timeout)


def _only(instances: Sequence[str] | None, from_version: str | None) -> str:
    if not instances:
        raise Misused("What shall go back? Name a SERVICE and --to VERSION, or one --instance ID.")
    if len(instances) > 1 or from_version:
        raise Misused("Several instances, or --from: name their SERVICE too, and --to VERSION.")
    return instances[0]


def _start(
    session: Session,
    kind: Kind,
    operation_id: str,
    what: str,
    start: Callable[[], Any],
    *,
    wait: bool,
    timeout: float | None,
) -> int | None:
    session.about(kind, operation_id, is_started=False)
    answer = start()
    session.about(kind, operation_id, is_started=True)
    if wait:
        session.screen.note(f"{kind} {operation_id}: {what}: started")
        return wait_for(session, kind, operation_id, timeout)
    session.screen.result(answer, f"{kind} {operation_id}: {what}: {answer['message']}\n{session.how_to_ask()}")
    return None


def _counted(instances: Sequence[str]) -> str:
    return instances[0] if len(instances) == 1 else f"{len(instances)} instances"
