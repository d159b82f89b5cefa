"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer


def option(text: str, name: str, *names: str, **more: Any) -> Any:
    """An option whose default its text tells, where it is worth telling."""
    return typer.Option(name, *names, help=text, show_default=False, **more)


Service = Annotated[str, typer.Argument(metavar="SERVICE")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Of a deploy or a rollback.")]
InstanceIds = Annotated[
    list[str] | None, option("An instance; give it once for each.", "--instance", metavar="INSTANCE_ID")
]
Reason = Annotated[str | None, option("Shown in the history.", "--reason", metavar="TEXT")]
PackageUrl = Annotated[str | None, option("Where the package is, if not where it was.", "--package-url", metavar="URL")]
Sha256 = Annotated[str | None, option("What the package's digest must be.", "--sha256", metavar="HEX")]
Wait = Annotated[
    bool, option("Until it has ended: 0 completed, 1 failed, 2 cancelled, 3 not known, 4 refused.", "--wait")
]
Timeout = Annotated[
    float | None, option("For how long to wait; left out, until it has ended.", "--timeout", min=0, metavar="SECONDS")
]
WhichKind = Annotated[
    Literal["deploy", "rollback"] | None, option("Which of both the id is of; left out, it is looked up.", "--kind")
]
