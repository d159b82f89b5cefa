"""Break everything at random for a while, and see that nothing is lost and nothing half-done.

    SECONDS=300 SEED=7 python -m tests.faults.soak          (`make soak`)
    LIARS=1 SECONDS=300 SEED=7 python -m tests.faults.soak

With LIARS=1, of ten targets one is on a node that lies, and of ten commands one floods. The same seed makes the same
choices; what they meet depends on the machine's timing.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SETTLE_SECONDS = 120


@dataclass(kw_only=True)
class Report:
    seed: int
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    violations: list[str] = field(default_factory=list)
    slowest_recovery_seconds: float = 0.0
    settled_seconds: float = 0.0
    honest_seconds: list[float] = field(default_factory=list)
    log_rows: int = 0

    def table(self) -> str:
        rows = [
            ("seed", str(self.seed)),
            ("seconds", f"{self.seconds:.0f}"),
            *((f"fault: {name}", str(count)) for name, count in sorted(self.faults.items())),
            ("faults", str(self.faults.total())),
            *((f"operation: {name}", str(count)) for name, count in sorted(self.operations.items())),
            *((f"target: {name}", str(count)) for name, count in sorted(self.outcomes.items())),
            ("invariant checks", str(self.looks)),
            ("slowest recovery", f"{self.slowest_recovery_seconds:.1f} s"),
            ("all ended after the last fault", f"{self.settled_seconds:.1f} s"),
            ("honest targets: median", f"{self._of_honest(0.5):.2f} s"),
            ("honest targets: nine of ten", f"{self._of_honest(0.9):.2f} s"),
            ("log lines", str(self.log_rows)),
            ("violations", str(len(self.violations))),
        ]
        return "\n".join(f"{name:<40}{value:>10}" for name, value in rows)

    def _of_honest(self, part: float) -> float:
        return self.honest_seconds[int(part * len(self.honest_seconds))] if self.honest_seconds else 0.0


def soak(folder: Path, *, seed: int, seconds: float, is_hostile: bool = False) -> Report:
    """Needs a migrated database that processes it starts can see. Leaves no process behind."""
    from tests.faults.soak_faults import Faults
    from tests.faults.soak_liars import cancel_silent_ones
    from tests.faults.soak_watch import Watch
    from tests.faults.soak_world import world

    report = Report(seed=seed)
    chance = random.Random(seed)
    with world(folder, report, is_hostile=is_hostile) as here, Watch(here.lab.instances, report) as watch:
        faults = Faults(here, report, chance)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            here.operate(chance)
            faults.maybe()
            watch.look_at_rows()
            time.sleep(chance.uniform(0.05, 0.6))
        report.seconds = time.monotonic() - began
        faults.end()
        cancel_silent_ones()
        report.settled_seconds = watch.wait_until_settled(SETTLE_SECONDS)
        watch.check_end(here.service, here.receiver)
    return report


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what it has started ends with it
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    seed = int(os.environ.get("SEED") or random.randrange(10_000))
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        seconds, is_hostile = float(os.environ.get("SECONDS") or 300), os.environ.get("LIARS") == "1"
        report = soak(Path(folder), seed=seed, seconds=seconds, is_hostile=is_hostile)
    print(report.table())
    for violation in report.violations:
        print(f"\nVIOLATION {violation}")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
