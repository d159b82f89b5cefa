"""Waits for an operation in front of somebody: a bar on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from release_client.answers import Kind, Operation, Target
from release_client.cli.command import Exit, Session
from release_client.cli.screen import Screen
from release_client.cli.texts import fault_of, full_text

STATUS = {"completed": Exit.DONE, "failed": Exit.FAILED, "cancelled": Exit.CANCELLED}


def wait(session: Session, kind: Kind, operation_id: str, timeout: float | None) -> int:
    """Shows how it ended too; its exit status."""
    with _shown(session.screen) as show:
        operation = session.client.wait(operation_id, kind, timeout=timeout, on_change=_Changes(session.screen, show))
    session.screen.result(operation, full_text(kind, operation_id, operation))
    return STATUS[operation["status"]]


class _Changes:
    """Tells each failure, and each wait for a confirmation, once."""

    def __init__(self, screen: Screen, show: Callable[[Operation], None]) -> None:
        self._screen = screen
        self._show = show
        self._told: set[tuple[str, str]] = set()

    def __call__(self, operation: Operation) -> None:
        for target in operation["instances"]:
            text = _news(target, operation.get("deploy_id", ""))
            if text and (target["instance_id"], text) not in self._told:
                self._told.add((target["instance_id"], text))
                self._screen.note(text)
        self._show(operation)


def _news(target: Target, deploy_id: str) -> str:
    if target["status"] == "failed":
        return fault_of(target)
    if target["status"] == "in_progress" and target.get("confirm_by"):
        return (
            f"{target['instance_id']} waits to be confirmed until {target.get('confirm_by')}, "
            f"and goes back without: release confirm {deploy_id}"
        )
    return ""


@contextmanager
def _shown(screen: Screen) -> Iterator[Callable[[Operation], None]]:
    if not sys.stderr.isatty():
        yield _lines(screen)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[counts]}", markup=False),
    )
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("waiting", total=None, counts="")

        def show(operation: Operation) -> None:
            done, total = (
                operation["progress"]["total"] - operation["progress"]["pending"],
                operation["progress"]["total"],
            )
            bar.update(task, description=operation["status"], total=total, completed=done, counts=counts(operation))

        yield show


def _lines(screen: Screen) -> Callable[[Operation], None]:
    last = ""

    def show(operation: Operation) -> None:
        nonlocal last
        line = f"{operation['status']}: {counts(operation)}"
        if line != last:
            screen.note(line)
        last = line

    return show


def counts(operation: Operation) -> str:
    progress = operation["progress"]
    parts = [f"{progress['completed']} of {progress['total']} completed"]
    for key, word in (("in_progress", "in progress"), ("failed", "failed"), ("cancelled", "cancelled")):
        number = progress[key]  # type: ignore[literal-required]
        parts += [f"{number} {word}"] if number else []
    return ", ".join(parts)
