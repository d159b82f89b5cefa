"""`release`: where it begins, and what its exit status says."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

import release_client
from release_client.cli import inventory, operations, services, start
from release_client.cli.command import Ended, Exit, SharedOptions, shared_options

HELP = """Deploy, roll back and watch, over HTTP.

RELEASE_URL says where the release system is; RELEASE_TOKEN_FILE (or RELEASE_TOKEN) what lets you in. Every call is safe to
repeat, and is sent again by itself when an answer is lost.

Exit status: 0 done; with --wait: 0 completed, 1 failed, 2 cancelled; 3 not known (time or connection ran out); 4 refused.
"""

app = typer.Typer(name="release", help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for part in (start, operations, services, inventory):
    part.add_to(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"release {release_client.__version__}")
        raise typer.Exit


@app.callback()
@shared_options
def release(
    context: typer.Context,
    shared: SharedOptions,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it and end.")
    ] = False,
) -> None:
    context.obj = shared


def main() -> NoReturn:
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(prog_name="release")
    except Ended as ended:
        sys.exit(ended.status)
    except SystemExit as ended:
        # Typer's own: 0 after --help, 2 for a command line that is wrong. Its 2 is not our 2.
        sys.exit(Exit.REFUSED if ended.code == 2 else ended.code)
    sys.exit(0)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
