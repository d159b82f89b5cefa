"""`python -m bench [PART …]`: runs the benchmarks, prints tables, writes var/bench/results.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench import document, picture
from bench.results import Table, as_text
from bench.site import Foundation, foundation

if TYPE_CHECKING:
    from bench import incremental

CHECKOUT = Path(__file__).resolve().parent.parent
PARTS = ("fleet", "disk", "limit", "api", "queue", "memory", "rollback", "hops", "scale", "incremental")
# What an issue's goals are told by, in a quarter of an hour on two quiet processors: `python -m bench report`.
REPORT = ("fleet", "disk", "incremental", "scale")
REPORT_DEFAULTS = ("--rounds", "1", "--sizes", "500", "5000", "--no-ansible", "--minutes", "12")


def main() -> None:
    options = _options()
    tables: list[Table] = []
    # As Ctrl-C does: networks, folders and processes are cleared away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with foundation() as base:
        for part in options.parts or PARTS:
            if options.is_over():
                print(f"bench: no time left for {part}", file=sys.stderr)
                continue
            for table in _part(part, base, options):
                print(as_text(table), flush=True)
                tables.append(table)
            _write(options.json, tables)  # a run that is stopped keeps what it found
    if options.document:
        document.update(CHECKOUT / "docs" / "performance.md", tables)
        picture.write(CHECKOUT / "docs" / "performance.svg", tables)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; none: all; report: some, briefly"
    )
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=1000, help="nodes of the memory benchmark")
    parser.add_argument("--big-nodes", type=int, default=20, help="incremental: nodes of the large applications")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000, 5000], help="scale: numbers of nodes")
    parser.add_argument("--only", action="append", default=[], help="fleet: this competitor alone (again for more)")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="disk: where the nodes' folders are")
    parser.add_argument("--json", type=Path, default=CHECKOUT / "var" / "bench" / "results.json")
    parser.add_argument("--document", action="store_true", help="put tables and picture into docs/performance.*")
    parser.add_argument("--no-ansible", action="store_true", help="fleet, incremental: it takes minutes")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin nothing more after so long")
    arguments = sys.argv[1:]
    if "report" in arguments:
        arguments.remove("report")
        arguments = [*REPORT, *REPORT_DEFAULTS, *arguments]
    options = parser.parse_args(arguments)
    ends_at = time.monotonic() + 60 * options.minutes
    options.is_over = lambda: time.monotonic() > ends_at
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return options


def _part(name: str, base: Foundation, options: argparse.Namespace) -> Sequence[Table]:
    """Imported only now: they need Django to be set up."""
    from bench import api, fleet, hops, incremental, memory, queue, rollback, scale
    from bench.limit import limit_table

    parts: dict[str, Callable[[], Sequence[Table]]] = {
        "fleet": lambda: fleet.fleet(base, nodes=options.nodes, rounds=options.rounds, only=_tools(options)),
        "disk": lambda: fleet.on_disk(base, options.disk, nodes=options.nodes, rounds=options.rounds),
        "limit": lambda: [limit_table(base, nodes=options.nodes, rounds=options.rounds)],
        "api": lambda: api.api(base),
        "queue": lambda: queue.queue(base),
        "memory": lambda: memory.memory(base, nodes=options.many),
        "rollback": lambda: rollback.rollback(base),
        "scale": lambda: scale.scale(base, sizes=options.sizes, is_over=options.is_over),
        "incremental": lambda: incremental.incremental(base, _plan(options)),
        "hops": lambda: hops.hops(base, nodes=min(options.nodes, 50), rounds=options.rounds),
    }
    return parts[name]()


def _tools(options: argparse.Namespace) -> list[str]:
    """Of the fleet's rows; none: all."""
    if options.only or not options.no_ansible:
        return list(options.only)
    return ["openssh", "pyinfra", "fabric"]


def _plan(options: argparse.Namespace) -> incremental.Plan:
    from bench.incremental import Plan

    return Plan(
        nodes=options.nodes,
        big_nodes=options.big_nodes,
        rounds=options.rounds,
        only=options.only,
        has_ansible=not options.no_ansible,
        is_over=options.is_over,
    )


def _write(path: Path, tables: Sequence[Table]) -> None:
    """One run's results; parts that it left out stay from the run before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text())["tables"] if path.exists() else {}
    found = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "tables": {**kept, **{table.key: table.as_json() for table in tables}},
    }
    path.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
