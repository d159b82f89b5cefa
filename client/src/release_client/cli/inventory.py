"""`release inventory pull`, `push`, `diff`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from release_client.answers import Counts
from release_client.cli.command import Session, command
from release_client.cli.options import option
from release_client.errors import Misused, Refused
from release_client.inventory import Inventory, difference, with_etag

File = Annotated[str, typer.Argument(metavar="FILE", help="YAML, or - for stdin.")]


def add_to(app: typer.Typer) -> None:
    ours = typer.Typer(help="Services, nodes and instances as a file.", no_args_is_help=True)
    for function in (pull, push, diff):
        command(ours, function)
    app.add_typer(ours, name="inventory")


def pull(session: Session) -> None:
    """The inventory as YAML on stdout, with its ETag in the first line."""
    inventory = session.client.inventory()
    session.screen.result(inventory.document, inventory.to_yaml().rstrip("\n"))


def push(
    session: Session,
    file: File,
    dry_run: Annotated[bool, option("Only say what it would do.", "--dry-run")] = False,
    overwrite: Annotated[bool, option("Whatever was changed since the file was pulled.", "--overwrite")] = False,
) -> None:
    """Create and update what the file says, all or nothing; what it leaves out stays.

    A pulled file bears an ETag in its first line: the push is refused when somebody has changed the inventory since, and
    else puts the new one there.
    """
    text = _read(file)
    inventory = Inventory.from_yaml(text, filename=file)
    etag = None if overwrite else inventory.etag
    try:
        counts = session.client.push_inventory(inventory.document, if_match=etag, dry_run=dry_run)
    except Refused as refused:
        raise _stale(refused, file) if refused.status == 412 else refused from None
    if inventory.etag and file != "-" and not dry_run:
        _keep_up(session, Path(file), text, inventory)
    session.screen.result(counts, _counted(counts, would="would be " if dry_run else ""))


def diff(session: Session, file: File) -> None:
    """What a push of the file would change."""
    wanted = Inventory.from_yaml(_read(file), filename=file)
    counts = session.client.push_inventory(wanted.document, dry_run=True)
    now = session.client.inventory()
    lines = list(difference(now.document, wanted.document))
    answer = {**counts, "diff": lines}
    session.screen.result(answer, "\n".join([*lines, _counted(counts, would="would be ")]))


def _keep_up(session: Session, file: Path, text: str, pushed: Inventory) -> None:
    """The file's next push is measured against what this one made; not when somebody has changed that already."""
    now = session.client.inventory()
    if now.etag and not any(difference(now.document, pushed.document)):
        file.write_text(with_etag(text, now.etag))


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Misused(f"{file} can't be read: {reason}.") from error


def _stale(refused: Refused, file: str) -> Refused:
    return Refused(
        f"The inventory was changed since {file} was pulled; nothing was changed now. See how: release inventory diff {file}. "
        "Then pull and edit anew, or push with --overwrite.",
        status=refused.status,
        errors=refused.errors,
    )


def _counted(counts: Counts, *, would: str) -> str:
    return f"{counts['created']} {would}created, {counts['updated']} {would}updated, {counts['unchanged']} unchanged"
