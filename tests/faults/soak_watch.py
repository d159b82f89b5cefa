"""The soak's eyes: a thread that looks at every link without pause, and looks at the rows in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import TracebackType

from deploys.error_codes import ErrorCode
from deploys.models import Hold, LogLine, Operation, Target
from deploys.states import TERMINAL, Kind, TargetStatus
from inventory.instances.sync import sync_service
from inventory.models import Instance, Service
from tests.faults.soak import Report
from tests.faults.soak_events import untold
from tests.faults.soak_liars import PREFIX, honest_seconds
from tests.support.lab import check_invariants, check_link
from tests.support.webhook_receiver import Receiver

LOOK_SECONDS = 0.05
# What a sound version on the local node may fail with: nothing but a worker that died under it again and again, or a
# package host that was made to answer 503.
EXCUSED = frozenset({"worker_lost", "package_unreachable"})


class Watch:
    def __init__(self, instances: Sequence[Instance], report: Report) -> None:
        self._instances = instances
        self._report = report
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_at_links, daemon=True)
        self._ended: dict[int, str] = {}
        self._unfinished: dict[int, float] = {}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _look_at_links(self) -> None:
        """No database here: what matters is what a service would find on the node at this moment."""
        while not self._stopping.wait(LOOK_SECONDS):
            for instance in self._instances:
                try:
                    check_link(instance)
                except (AssertionError, OSError) as error:
                    self._violated(f"{instance.instance_id}: current is not whole: {error!r}")
            self._report.looks += 1

    def look_at_rows(self) -> None:
        """An ended target stays as it ended; how long each operation takes, whatever is done to its workers."""
        for pk, status in Target.objects.values_list("pk", "status"):
            if pk in self._ended and self._ended[pk] != status:
                self._violated(f"target {pk} went from {self._ended[pk]} to {status}")
            elif status in TERMINAL:
                self._ended[pk] = status
        self._look_at_holds()
        self._time_operations()
        self._report.looks += 1

    def _look_at_holds(self) -> None:
        """While a service is held no deploy of it waits to begin: in one statement, so at one moment."""
        held = Hold.objects.active().values("service_id")
        waiting = Target.objects.filter(kind=Kind.DEPLOY, status=TargetStatus.PENDING, operation__service__in=held)
        for target in waiting.select_related("operation"):
            self._violated(f"{target} of {target.operation} waits though its service is held")

    def _time_operations(self) -> None:
        now = time.monotonic()
        honest = Operation.objects.exclude(targets__instance__node__name__startswith=PREFIX)
        unfinished = set(honest.filter(finished_at=None).values_list("pk", flat=True))
        for pk in unfinished:
            self._unfinished.setdefault(pk, now)
        for pk in self._unfinished.keys() - unfinished:
            took = now - self._unfinished.pop(pk)
            self._report.slowest_recovery_seconds = max(self._report.slowest_recovery_seconds, took)

    def wait_until_settled(self, seconds: float) -> float:
        began = time.monotonic()
        while Operation.objects.filter(finished_at=None).exists():
            if time.monotonic() - began > seconds:
                left = Target.objects.exclude(status__in=TERMINAL)
                rows = list(
                    left.values("id", "operation__public_id", "instance__instance_id", "status", "step", "claims")
                )
                self._violated(f"not ended {seconds:.0f} s after the last fault: {rows}")
                break
            self.look_at_rows()
            time.sleep(0.2)
        return time.monotonic() - began

    def check_end(self, service: Service, receiver: Receiver) -> None:
        """After a sync, which is what resolves an instance whose outcome nobody could tell."""
        sync_service(service.pk)
        for status, code in Target.objects.values_list("status", "error_code"):
            self._report.outcomes[f"{status} {code}".strip()] += 1
        self._report.honest_seconds = honest_seconds()
        self._report.log_rows = LogLine.objects.count()
        self._check_false_failures()
        try:
            check_invariants(self._instances)
        except (AssertionError, OSError) as error:
            self._violated(repr(error))
        for untold_of in untold(receiver):
            self._violated(untold_of)

    def _check_false_failures(self) -> None:
        failed = Target.objects.filter(status=TargetStatus.FAILED, instance__node__transport="local")
        # Many are to be confirmed within a second or three, and the confirmations are drawn as all the rest.
        failed = failed.exclude(error_code=ErrorCode.NOT_CONFIRMED, operation__confirm_within__gt=0)
        for target in failed.exclude(operation__version__startswith="broken").exclude(error_code__in=EXCUSED):
            self._violated(f"{target.operation} failed without a cause: {target.error_code}: {target.error_message}")

    def _violated(self, what: str) -> None:
        if what not in self._report.violations:
            self._report.violations.append(what)
