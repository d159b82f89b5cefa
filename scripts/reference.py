"""`make reference`: docs/reference.md, made of the code itself: variables, commands, error codes, refusals, metrics, events.

--check: ends with 1 when the file is another than the code makes.
"""

from __future__ import annotations

import ast
import os
import re
import sys
import tomllib
from argparse import SUPPRESS
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "reference.md"
APPS = ("inventory", "deploys", "rollbacks", "releasesite")
METRICS = {"GaugeMetricFamily", "CounterMetricFamily", "HistogramMetricFamily", "Gauge", "Counter", "Histogram"}
HEAD = """# Reference

Made from the code by `make reference`: [the environment](#environment), [commands](#commands),
[why a target failed](#error-codes-of-a-target), [why a request was refused](#codes-of-refused-requests), [metrics](#metrics),
[events](#events).
"""


def document() -> str:
    parts = (HEAD, environment(), commands(), error_codes(), refusals(), metrics(), events())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(part.strip() + "\n" for part in parts))


def variables() -> dict[str, dict[str, Any]]:
    return tomllib.loads((ROOT / "scripts" / "reference.toml").read_text())


def environment() -> str:
    told = variables()
    settings = table(
        ("variable", "meaning", "default"), ((f"`{name}`", *texts) for name, texts in told["settings"].items())
    )
    given = table(("variable", "what it is"), ((f"`{name}`", text) for name, text in told["commands_on_nodes"].items()))
    return f"""## Environment

Web, worker and every command read the same file, `/etc/release/env`. A bad value stops the process at its start, with one
line that names the variable.

{settings}
A service's commands find, on the node:

{given}"""


def commands() -> str:
    parts = [f"### `{name}`\n\n{text}\n\n{options}\n" for name, text, options in sorted(_commands())]
    return f"""## Commands

`release-server COMMAND`; in a checkout `python manage.py COMMAND` is the same. `migrate` and `check` are Django's own.

{"".join(parts).strip()}"""


def _commands() -> Iterator[tuple[str, str, str]]:
    for app in APPS:
        for path in sorted((ROOT / app / "management" / "commands").glob("[!_]*.py")):
            command = import_module(f"{app}.management.commands.{path.stem}").Command()
            parser = command.create_parser("release-server", path.stem)

            yield path.stem, command.help, table(("argument", "meaning"), _arguments(parser._actions))


def _arguments(actions: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for action in actions:
        if action.help == SUPPRESS or action.dest in DJANGOS_OWN:
            continue
        names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar or action.dest.upper()}`"
        choices = "one of " + ", ".join(f"`{choice}`" for choice in action.choices) if action.choices else ""
        required = "required" if action.required and action.option_strings else ""
        yield names, "; ".join(filter(None, (action.help or "", choices, required)))


DJANGOS_OWN = {
    "help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color", "skip_checks",
}  # fmt: skip


def error_codes() -> str:
    from deploys.error_codes import ErrorCode

    rows = ((f"`{code}`", code.label, code.advice) for code in ErrorCode)
    return f"""## Error codes of a target

`error.code` of an instance in a deploy or rollback; `error.message` says what happened there, and where.

{table(("code", "what happened", "what to do"), rows)}"""


def refusals() -> str:
    calls: dict[str, set[str]] = defaultdict(set)
    statuses: dict[str, set[str]] = defaultdict(set)
    for path, method, codes in _refusals():
        for status, words in codes.items():
            for word in filter(None, words):
                calls[word].add(f"`{method} {path}`")
                statuses[word].add(str(status))
    rows = ((f"`{word}`", ", ".join(sorted(statuses[word])), ", ".join(sorted(calls[word]))) for word in sorted(calls))
    return f"""## Codes of refused requests

Of the calls that have them. Any call may also be 400 with the codes of its fields (`required`, `invalid`, `unknown_field`,
`invalid_name`, …), 401, 403 `scope_missing`, 429 `throttled`, or 503 while the database is away. `detail` says what to do, in the
language of `Accept-Language`.

{table(("code", "status", "calls"), rows)}"""


def _refusals() -> Iterator[tuple[str, str, Any]]:
    from django.urls import get_resolver

    from inventory.wire.refusals import refusals_of

    for path, view in _views(get_resolver().url_patterns, ""):
        for method in ("get", "post", "put", "delete"):
            if hasattr(view, method):
                yield path, method.upper(), refusals_of(view, method)


def _views(patterns: Iterable[Any], before: str) -> Iterator[tuple[str, Any]]:
    for each in patterns:
        path = f"{before}{each.pattern}"
        if hasattr(each, "url_patterns"):
            yield from _views(each.url_patterns, path)
        elif path.startswith("v1/") and hasattr(each.callback, "cls"):
            yield "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path), each.callback.cls


def metrics() -> str:
    rows = (
        (f"`{name}`", ", ".join(f"`{label}`" for label in labels), text) for name, text, labels in sorted(_metrics())
    )
    return f"""## Metrics

`GET /metrics`, with a token of scope `read` for all services.

{table(("metric", "labels", "what it is"), rows)}"""


def _metrics() -> Iterator[tuple[str, str, list[str]]]:
    """As the code names them: to make them would take a database."""
    for path in sorted(ROOT.glob("*/**/*.py")):
        if path.relative_to(ROOT).parts[0] in APPS:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in METRICS:
                    yield from _metric(node)


def _metric(call: ast.Call) -> Iterator[tuple[str, str, list[str]]]:
    texts = [each.value for each in call.args if isinstance(each, ast.Constant)]
    labels = [each.value for each in call.keywords if each.arg in ("labels", "labelnames")] + [
        each for each in call.args if isinstance(each, ast.List | ast.Tuple)
    ]
    if len(texts) >= 2:
        yield str(texts[0]), str(texts[1]), [name for each in labels for name in ast.literal_eval(each)]


def events() -> str:
    from deploys.webhook_models import EventType

    rows = ((f"`{event}`", str(event.label)) for event in EventType)
    return f"## Events\n\nWhat [webhooks](webhooks.md) tell.\n\n{table(('event', 'when'), rows)}"


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Nothing without rows."""
    cells = [tuple(text.replace("|", "\\|").replace("\n", " ") for text in row) for row in rows]
    lines = [heads, ("---",) * len(heads), *cells] if cells else []
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    import django

    django.setup()
    text = document()
    if "--check" in sys.argv[1:]:
        return int(not FILE.is_file() or FILE.read_text() != text)
    FILE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ["DJANGO_SETTINGS_MODULE"] = "releasesite.settings"
    os.environ["RELEASE_ENV_FILE"] = os.devnull
    sys.exit(main())
