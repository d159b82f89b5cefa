"""What every command shares: its options, how its errors are told, and its exit status."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer

from release_client.answers import Kind
from release_client.cli.options import option
from release_client.cli.screen import Screen
from release_client.client import PATIENCE, Client
from release_client.environment import environment_token, environment_url, token_in
from release_client.errors import Misused, NotKnown, Refused

Command = Callable[..., int | None]


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    CANCELLED = 2
    NOT_KNOWN = 3
    REFUSED = 4
    INTERRUPTED = 130
    NO_READER = 141


class Ended(Exception):
    """The command is over, and everything is said."""

    def __init__(self, status: int) -> None:
        self.status = int(status)
        super().__init__(self.status)


@dataclass(frozen=True, kw_only=True)
class SharedOptions:
    """As given on the command line; None where the environment or the default holds."""

    url: str | None = None
    token: str | None = None
    token_file: Path | None = None
    retry_for: float | None = None
    json: bool = False

    def over(self, others: SharedOptions | None) -> SharedOptions:
        """`release --url URL status` and `release status --url URL` are the same."""
        given = {key: value for key, value in vars(self).items() if value is not None and value is not False}
        return replace(others or SharedOptions(), **given)


def _shared(text: str, *names: str, **more: Any) -> Any:
    return option(text, *names, rich_help_panel="Connection and output", **more)


_TOKEN = "The API token; else RELEASE_TOKEN. Every user of this machine can read it in `ps`: better a file."
_RETRY_FOR = f"For how long to send a call again that gets no answer; {PATIENCE:g} when left out."
SHARED = {
    "url": Annotated[str | None, _shared("Where the release system is; else RELEASE_URL.", "--url", metavar="URL")],
    "token": Annotated[str | None, _shared(_TOKEN, "--token", metavar="TOKEN")],
    "token_file": Annotated[
        Path | None,
        _shared("A file that holds the API token; else RELEASE_TOKEN_FILE.", "--token-file", metavar="FILE"),
    ],
    "retry_for": Annotated[float | None, _shared(_RETRY_FOR, "--retry-for", min=0, metavar="SECONDS")],
    "json": Annotated[bool, _shared("The API's answers, on stdout, for programs.", "--json")],
}


def shared_options(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a function that takes a context and SharedOptions these as options of its own, for Typer to read."""
    (context, _shared, *own) = inspect.signature(function, eval_str=True).parameters.values()
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=False if name == "json" else None
        )
        for name, kind in SHARED.items()
    ]

    def run(*args: Any, **values: Any) -> None:
        options = SharedOptions(**{name: values.pop(name) for name in SHARED})
        function(values.pop(context.name), options, **values)

    _describe(run, function, [context, *own, *shared])
    return run


def _describe(run: Any, function: Command, parameters: list[inspect.Parameter]) -> None:
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    named = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
    run.__signature__ = inspect.Signature(named)
    run.__annotations__ = {each.name: each.annotation for each in named}


@dataclass(kw_only=True)
class Session:
    """One run of a command. subject: the operation that it is about, once it has an id; started: it is known to exist."""

    options: SharedOptions
    screen: Screen
    subject: tuple[Kind, str] | None = None
    is_started: bool = False

    @cached_property
    def client(self) -> Client:
        options = self.options
        return Client(
            options.url or environment_url(),
            self._token(),
            patience=PATIENCE if options.retry_for is None else options.retry_for,
            on_pause=self._say_pause,
        )

    def _token(self) -> str:
        if self.options.token:
            return self.options.token.strip()
        if self.options.token_file:
            return token_in(self.options.token_file)
        return environment_token()

    def _say_pause(self, fault: str, seconds: float) -> None:
        self.screen.note(f"{self.client.url}: {fault}; trying again in {seconds:.1f} s")

    def about(self, kind: Kind, operation_id: str, *, is_started: bool) -> None:
        self.subject, self.is_started = (kind, operation_id), is_started

    def how_to_ask(self) -> str:
        """Empty for a command that is about no operation."""
        if self.subject is None:
            return ""
        kind, operation_id = self.subject
        ask = f"Ask again: release status {operation_id} --kind {kind} --wait"
        return (
            ask if self.is_started else f"{ask}\nOr run the same again with --id {operation_id}: nothing starts twice."
        )


def command(app: typer.Typer, function: Command, name: str | None = None) -> None:
    """Adds a command to `release`. The function takes a Session first and returns an exit status, or None for 0."""

    def run(context: typer.Context, shared: SharedOptions, **own: Any) -> None:
        options = shared.over(context.obj)
        session = Session(options=options, screen=Screen(is_json=options.json))
        raise Ended(_status_of(session, functools.partial(function, session, **own)))

    (_session, *own) = inspect.signature(function, eval_str=True).parameters.values()
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    shared = context.replace(name="shared", annotation=SharedOptions)
    _describe(run, function, [context, shared, *own])
    app.command(name)(shared_options(run))


def _status_of(session: Session, work: Callable[[], int | None]) -> int:
    """Every error becomes words and a status here."""
    try:
        return work() or Exit.DONE
    except (Refused, Misused) as error:
        session.screen.error("refused", error, error.errors)
        return Exit.REFUSED
    except NotKnown as error:
        session.screen.error("not_known", error, error.errors, then=session.how_to_ask())
        return Exit.NOT_KNOWN
    except KeyboardInterrupt:
        return _interrupted(session)
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is left to flush at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.NO_READER


def _interrupted(session: Session) -> int:
    if session.subject is None:
        return Exit.INTERRUPTED
    kind, operation_id = session.subject
    goes_on = (
        f"The {kind} {operation_id} goes on."
        if session.is_started
        else f"Whether {operation_id} was started is not known."
    )
    error = NotKnown(f"Interrupted. {goes_on} To stop it: release cancel {operation_id} --kind {kind}")
    session.screen.error("interrupted", error, (), then=session.how_to_ask())
    return Exit.NOT_KNOWN
