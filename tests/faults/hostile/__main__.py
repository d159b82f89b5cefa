"""What every kind of lie costs, as a table: `python -m tests.faults.hostile`   (`make hostile`)

    SEED=7 python -m tests.faults.hostile [KIND … | "all at once"]        ENDS=1: with each target's end

Each kind by itself, then all at once: the liars of a kind are deployed to, and meanwhile an honest service by the same
worker process, again and again until the liars have ended. It ends with status 1 if anything was violated.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.hostile.experiment import Result

ALL = "all at once"
HEADS = (
    "kind",
    "liars",
    "how their targets ended",
    "alone",
    "beside",
    "roll back",
    "ended",
    "memory",
    "rows",
    "table",
    "attempts",
    "calls",
    "sync",
    "test",
)


def row(kind: str, result: Result) -> tuple[str, ...]:
    told = result.readings
    read = (
        (
            f"{told.sync_seconds:.0f} s, {told.sync_bytes / 2**20:.0f} MiB",
            f"{told.test_seconds:.0f} s, {told.test_bytes / 2**20:.0f} MiB",
        )
        if told
        else ("", "")
    )
    outcomes = ", ".join(f"{count} {name}" for name, count in result.outcomes.most_common())
    return (
        kind,
        str(result.targets),
        outcomes,
        f"{result.alone_seconds:.1f} s",
        f"{result.slowest_seconds:.1f} s",
        f"{result.rollback_seconds:.1f} s",
        f"{result.ended_seconds:.0f} s",
        f"{result.memory_bytes / 2**20:.0f} MiB",
        str(result.rows),
        f"{result.table_bytes / 2**20:.1f} MiB",
        f"{result.attempts}, {result.most_attempts} at most",
        str(result.most_calls),
        *read,
    )


def one_kind(seed: int, kinds: Collection[str]) -> Result:
    from django.core.management import call_command

    from tests.faults.hostile import experiment
    from tests.faults.hostile.fleet import lying_fleet
    from tests.faults.hostile.site import site
    from tests.support.package_host import serving
    from tests.support.sshd import ssh_server

    call_command("flush", verbosity=0, interactive=False)
    with tempfile.TemporaryDirectory(prefix="hostile-") as name, serving(Path(name)) as host, ssh_server() as sshd:
        with lying_fleet(seed, kinds) as fleet, site(Path(name), host, sshd, fleet.liars, kinds) as here:
            result = experiment.run(here, fleet, alone_seconds=experiment.measure_alone(here))
            result.readings = experiment.read(here, fleet, result) if fleet.liars else None
            fleet.stop()
        result.most_calls = max(fleet.calls.values(), default=0)
    return result


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what it has started ends with it
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.core.management import call_command

    from tests.faults.hostile.fleet import cases
    from tests.faults.hostile.site import DRIPS, FLOODS

    call_command("migrate", verbosity=0)
    _let_flush()
    seed = int(os.environ.get("SEED") or 1)
    every = [*dict.fromkeys(case.kind for case in cases(seed)), FLOODS, DRIPS]
    runs = {kind: every if kind == ALL else [kind] for kind in sys.argv[1:] or [*every, ALL]}
    print(f"| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}", flush=True)
    violations = []
    for name, kinds in runs.items():
        result = one_kind(seed, kinds)
        print(f"| {' | '.join(row(name, result))} |", flush=True)
        violations += result.violations
        for end in result.ends if os.environ.get("ENDS") else ():
            print(f"  {end}")
    for violation in violations:
        print(f"VIOLATION {violation}"[:400])
    return 1 if violations else 0


def _let_flush() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE inventory_auditentry DISABLE TRIGGER audit_no_truncate")


if __name__ == "__main__":
    sys.exit(main())
