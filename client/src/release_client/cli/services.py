"""`release versions`, `instances`, `sync`, `hold`, `unhold`: about a service."""

from __future__ import annotations

from typing import Annotated

import typer

from release_client.cli.command import Session, command
from release_client.cli.options import Service, option
from release_client.cli.texts import hold_text, instances_text, versions_text
from release_client.errors import Misused


def add_to(app: typer.Typer) -> None:
    for function in (versions, instances, sync, hold, unhold):
        command(app, function)


def versions(session: Session, service: Service) -> None:
    """Which version every instance runs."""
    answer = session.client.versions(service)
    session.screen.result(answer, versions_text(answer))


def instances(session: Session, service: Service) -> None:
    """Where the instances are, and their reported health."""
    answer = session.client.instances(service)
    session.screen.result(answer, instances_text(answer))


def sync(session: Session, service: Service) -> None:
    """Have the running versions read off the nodes now."""
    answer = session.client.sync(service)
    session.screen.result(answer, f"{answer['message']}\nThen: release versions {service}")


def hold(
    session: Session,
    service: Service,
    reason: Annotated[str | None, option("Why.", "--reason", metavar="TEXT")] = None,
    until: Annotated[
        str | None, option("Such as 2024-01-15T10:30:00Z; left out, until unhold.", "--until", metavar="TIME")
    ] = None,
    show: Annotated[bool, option("Only say whether it is held.", "--show")] = False,
) -> None:
    """Let no deploy of the service begin; rollbacks pass."""
    if not show and not reason:
        raise Misused("Why? Give --reason TEXT: whoever is refused a deploy reads it.")
    answer = session.client.hold_of(service) if show else session.client.hold(service, str(reason), until=until)
    session.screen.result(answer, hold_text(answer))


def unhold(session: Session, service: Service) -> None:
    """Let deploys of the service begin again."""
    answer = session.client.unhold(service)
    session.screen.result(answer, hold_text(answer))
