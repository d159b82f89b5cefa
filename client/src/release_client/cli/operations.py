"""`release status`, `logs`, `cancel`, `retry`, `confirm`: about an operation that there is."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated

import typer

from release_client.answers import Changed, Kind, LogLine
from release_client.cli.command import Session, command
from release_client.cli.options import Id, InstanceIds, PackageUrl, Sha256, Timeout, Wait, WhichKind, option
from release_client.cli.progress import wait as wait_for
from release_client.cli.screen import Screen
from release_client.cli.texts import full_text, log_text

FOLLOW_SECONDS = 1.0


def add_to(app: typer.Typer) -> None:
    for function in (status, logs, cancel, retry, confirm):
        command(app, function)


def status(
    session: Session, operation_id: Id, kind: WhichKind = None, wait: Wait = False, timeout: Timeout = None
) -> int | None:
    """How far it is, instance by instance."""
    found = kind or session.client.kind_of(operation_id)
    if wait:
        session.client.status(operation_id, found)
        session.about(found, operation_id, is_started=True)
        return wait_for(session, found, operation_id, timeout)
    operation = session.client.status(operation_id, found)
    session.screen.result(operation, full_text(found, operation_id, operation))
    return None


def logs(
    session: Session,
    operation_id: Id,
    kind: WhichKind = None,
    instance: Annotated[str | None, option("Only this instance's lines.", "--instance", metavar="INSTANCE_ID")] = None,
    tail: Annotated[int | None, option("Begin with the last so many lines.", "--tail", min=1, metavar="LINES")] = None,
    follow: Annotated[bool, option("Go on until it has ended.", "--follow", "-f")] = False,
) -> None:
    """What was done, step by step, and what its commands printed; with --json a JSON object on each line."""
    found = kind or session.client.kind_of(operation_id)
    for lines, is_finished in session.client.logs(operation_id, found, tail=tail, instance=instance):
        _show_lines(session.screen, lines)
        if is_finished or (not lines and not follow):
            return
        if not lines:
            time.sleep(FOLLOW_SECONDS)


def _show_lines(screen: Screen, lines: Iterable[LogLine]) -> None:
    for line in lines:
        screen.result(line, log_text(line))


def cancel(
    session: Session, operation_id: Id, kind: WhichKind = None, wait: Wait = False, timeout: Timeout = None
) -> int | None:
    """Stop it: what has not begun at once, the rest at its next safe point."""
    found = kind or session.client.kind_of(operation_id)
    return _changed(
        session, found, operation_id, session.client.cancel(operation_id, found), wait=wait, timeout=timeout
    )


def retry(
    session: Session,
    operation_id: Id,
    kind: WhichKind = None,
    package_url: PackageUrl = None,
    sha256: Sha256 = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> int | None:
    """Try its failed and cancelled instances again."""
    found = kind or session.client.kind_of(operation_id)
    session.about(found, operation_id, is_started=True)
    answer = session.client.retry(operation_id, found, package_url=package_url, sha256=sha256)
    return _changed(session, found, operation_id, answer, wait=wait, timeout=timeout)


def confirm(
    session: Session,
    deploy_id: Annotated[str, typer.Argument(metavar="ID")],
    instance: InstanceIds = None,
    wait: Wait = False,
    timeout: Timeout = None,
) -> int | None:
    """Keep what a deploy with --confirm-within has switched."""
    answer = session.client.confirm(deploy_id, instance or None)
    return _changed(session, "deploy", deploy_id, answer, wait=wait, timeout=timeout)


def _changed(
    session: Session, kind: Kind, operation_id: str, answer: Changed, *, wait: bool, timeout: float | None
) -> int | None:
    session.about(kind, operation_id, is_started=True)
    if wait:
        session.screen.note(f"{kind} {operation_id}: {answer['message']}")
        return wait_for(session, kind, operation_id, timeout)
    session.screen.result(answer, f"{kind} {operation_id}: {answer['message']}\n{session.how_to_ask()}")
    return None
