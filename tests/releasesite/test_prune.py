"""`manage.py prune`: what is old goes, in whole pieces; what something still needs stays."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Count, Max, Min
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse

from deploys.models import LogLine, Operation, Package, Target
from deploys.operations.start import DeployRequest, start_deploy
from deploys.states import OperationStatus, Step, TargetStatus, Until
from deploys.webhook_models import WebhookDelivery
from inventory.models import AuditEntry, Instance, Service, StatusChange
from releasesite.models import RequestCount
from tests.support.api import caller
from tests.support.database import process_environment
from tests.support.demo_data import people
from tests.support.fleet import SCHEDULER, ids, make_instances, make_node, make_service
from tests.support.past import make_instances_at_once, make_past_deploys
from tests.support.webhooks import make_sent, make_webhook

INSTANCES, OLD_DEPLOYS, LINES_OF_EACH = 50, 400, 200
AUDIT = AuditEntry, StatusChange, Package


def prune(*arguments: str) -> dict[str, int]:
    said = io.StringIO()
    call_command("prune", *arguments, stdout=said)
    rows = [line.strip().split("  ", 1) for line in said.getvalue().splitlines()[1:]]
    return {what: int(count.replace(",", "")) for count, what in rows}


@pytest.fixture
def service(db: None) -> Service:
    return make_service()


@pytest.fixture
def fleet(service: Service) -> list[Instance]:
    return make_instances(service, make_node())


def deployed(
    fleet: Sequence[Instance], version: str, *, days_ago: int, until: Until = Until.SWITCHED, status: str = "completed"
) -> Operation:
    """A deploy that ended so long ago, as a worker leaves it."""
    operation = start_deploy(
        access=SCHEDULER,
        request=DeployRequest(
            service="user-service", version=version, instances=ids(fleet), package_url="http://p/x.tgz", until=until
        ),
    )
    ended = Now() - timedelta(days=days_ago)
    package, _ = Package.objects.get_or_create(
        service=operation.service, version=version, release=version, sha256=version[-1] * 64, size_bytes=1, url="u"
    )
    operation.targets.update(status=status, step=Step.DONE, finished_at=ended)
    Operation.objects.filter(pk=operation.pk).update(
        status=OperationStatus(status), finished_at=ended, package=package, log_seq=len(fleet)
    )
    for seq, instance in enumerate(fleet, start=1):
        LogLine.objects.create(operation=operation, instance=instance, seq=seq, at=ended, text="x")
        StatusChange.objects.create(
            instance=instance, field="version", new=version, at=ended, operation_id=operation.pk,
            operation_name=f"deploy {operation.public_id}", actor_kind="token", actor_name="scheduler",
        )  # fmt: skip
    return operation


def runs(fleet: Sequence[Instance], version: str, *, after: Sequence[str] = ()) -> None:
    Instance.objects.filter(pk__in=[each.pk for each in fleet]).update(
        running_version=version, running_release=version, release_history=[*after, version]
    )


def left() -> set[str]:
    return set(Operation.objects.values_list("version", flat=True))


def test_old_logs_go_and_the_page_the_api_and_the_file_say_so(fleet: list[Instance], client: Client) -> None:
    old, young = deployed(fleet, "v1", days_ago=100), deployed(fleet, "v2", days_ago=10)

    assert prune()["log lines"] == 3

    assert set(LogLine.objects.values_list("operation", flat=True)) == {young.pk}
    assert left() == {"v1", "v2"}
    client.force_login(people()["viewer"])
    page = client.get(reverse("deploy", args=[old.public_id])).content.decode()
    assert "3 earlier lines are no longer kept." in page
    assert "no longer kept" not in client.get(reverse("deploy", args=[young.public_id])).content.decode()
    file = client.get(reverse("deploy-log-file", args=[old.public_id]))
    assert b"".join(file) == b"[3 earlier lines are no longer kept]\n"
    answers = [caller("read").get(f"/v1/deploy/logs/{each.public_id}").json() for each in (old, young)]
    assert [(answer["lines_deleted"], len(answer["lines"])) for answer in answers] == [(3, 0), (0, 3)]


def test_old_operations_go_whole_and_packages_audit_and_unfinished_ones_stay(
    fleet: list[Instance], client: Client
) -> None:
    old, young = deployed(fleet, "v1", days_ago=800), deployed(fleet, "v2", days_ago=300)
    runs(fleet, "v2")
    Operation.objects.filter(pk=young.pk).update(undoes=old)
    waiting = start_deploy(
        access=SCHEDULER,
        request=DeployRequest(service="user-service", version="v3", instances=ids(fleet), package_url="http://p/x.tgz"),
    )
    Operation.objects.filter(pk=waiting.pk).update(started_at=Now() - timedelta(days=900))
    kept = [model.objects.count() for model in AUDIT]

    gone = prune()

    assert (gone["operations"], gone["instances in operations"]) == (1, 3)
    assert left() == {"v2", "v3"}
    assert not Target.objects.filter(operation=old.pk).exists()
    young.refresh_from_db()
    assert young.undoes_id is None
    assert [model.objects.count() for model in AUDIT] == [kept[0] + 1, *kept[1:]]
    entry = AuditEntry.objects.latest("pk")
    assert entry.action == "history.prune"
    assert entry.detail["operations"] == 1
    client.force_login(people()["viewer"])
    page = client.get(reverse("instance", args=[fleet[0].instance_id])).content.decode()
    assert reverse("deploy", args=[young.public_id]) in page
    assert old.public_id in page
    assert reverse("deploy", args=[old.public_id]) not in page, "it leads nowhere"


def test_what_tells_how_an_instance_came_to_what_it_can_go_back_to_stays(fleet: list[Instance]) -> None:
    """By the newest deploy of each such version; and the last word on an instance, a failure even."""
    for version in ("v0", "v1", "v1", "v2"):
        newest = deployed(fleet, version, days_ago=800)
    runs(fleet, "v2", after=["v1"])
    deployed(fleet, "v7", days_ago=800, status="failed")
    deployed(fleet[:1], "v8", days_ago=800, status="failed")
    deployed(fleet, "v9", days_ago=800, status="failed")

    assert prune()["operations"] == 4

    assert sorted(Operation.objects.values_list("version", flat=True)) == ["v1", "v2", "v9"]
    assert Operation.objects.filter(pk=newest.pk).exists()
    Instance.objects.update(retired_at=Now())
    assert prune()["operations"] == 3, "of a retired instance nothing has to be told"


def test_what_is_staged_stays_until_its_days_are_over(fleet: list[Instance]) -> None:
    deployed(fleet, "v1", days_ago=3, until=Until.STAGED)
    deployed(fleet, "v2", days_ago=8, until=Until.STAGED)
    deployed(fleet, "v3", days_ago=0)

    prune("--logs-days", "1", "--operations-days", "1")

    assert left() == {"v1", "v3"}


def test_sessions_logins_deliveries_and_counts_go_when_they_are_old(db: None) -> None:
    for key, days in (("old", -1), ("young", 1)):
        Session.objects.create(session_key=key, session_data="", expire_date=Now() + timedelta(days=days))
    for number, days in enumerate((100, 10)):
        for model in (AccessAttempt, AccessFailureLog, AccessLog):
            extra = {"failures_since_start": 1} if model is AccessAttempt else {}
            row = model.objects.create(username=f"ada-{number}", ip_address="10.0.0.1", user_agent="x", **extra)
            model.objects.filter(pk=row.pk).update(attempt_time=Now() - timedelta(days=days))
        RequestCount.objects.create(key=str(days), minute=Now() - timedelta(days=days - 10), requests=1)
    make_sent(make_webhook("https://hooks.example.com/x"))

    gone = prune()

    assert gone | {"log lines": 0, "operations": 0, "instances in operations": 0} == gone
    assert {what: count for what, count in gone.items() if count} == {
        "expired sessions": 1,
        "wrong passwords": 1,
        "failed logins": 1,
        "logins": 1,
        "webhook deliveries": 1,
        "request counts": 1,
    }
    assert list(Session.objects.values_list("session_key", flat=True)) == ["young"]
    assert list(AccessAttempt.objects.values_list("username", flat=True)) == ["ada-1"]
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize("days", [("0", "730"), ("90", "89"), ("90", "99999")])
def test_days_that_make_no_sense_are_refused(db: None, days: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="--logs-days"):
        prune("--logs-days", days[0], "--operations-days", days[1])


class Process:
    """The command as an admin runs it."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "prune"],
            env=process_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self) -> str:
        said, _ = self.popen.communicate(timeout=60)
        assert self.popen.returncode == 0, said
        return said


def make_old_world() -> None:
    """80,000 log lines and 20,000 targets of 400 old deploys; and one young deploy of each instance."""
    service = make_service("large")
    make_instances_at_once(service, INSTANCES)
    make_past_deploys(service, OLD_DEPLOYS + 1)
    Operation.objects.filter(public_id__lt="large-past-9999").update(log_seq=LINES_OF_EACH)
    young = Operation.objects.latest("pk").pk
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # Or each line would look its operation up.
        cursor.execute(
            "INSERT INTO deploys_logline (operation_id, seq, at, step, stream, text) SELECT o.id, n, now(), '', 'stdout', 'x'"
            " FROM deploys_operation o, generate_series(1, %s) n",
            [LINES_OF_EACH],
        )
        cursor.execute("RESET session_replication_role")
        cursor.execute("UPDATE deploys_operation SET finished_at = now() - interval '800 days' WHERE id <> %s", [young])


def counts() -> list[int]:
    return [model.objects.count() for model in (LogLine, Target, Operation)]


@pytest.mark.django_db(transaction=True)
def test_a_dry_run_changes_nothing_a_kill_leaves_no_half_and_two_at_once_share_the_work() -> None:
    make_old_world()
    before = counts()
    said = prune("--dry-run")
    assert counts() == before == [(OLD_DEPLOYS + 1) * LINES_OF_EACH, (OLD_DEPLOYS + 1) * INSTANCES, OLD_DEPLOYS + 1]
    assert [said["log lines"], said["instances in operations"], said["operations"]] == [
        OLD_DEPLOYS * LINES_OF_EACH, OLD_DEPLOYS * INSTANCES, OLD_DEPLOYS,
    ]  # fmt: skip

    killed = Process()
    while Target.objects.count() > INSTANCES * OLD_DEPLOYS // 2:
        assert killed.popen.poll() is None
        time.sleep(0.01)
    killed.popen.kill()
    killed.popen.wait()
    assert Operation.objects.count() > 1, "it was killed in the middle"
    assert_nothing_is_halved()

    for process in [Process(), Process()]:
        process.end()
    assert counts() == [LINES_OF_EACH, INSTANCES, 1]
    assert_nothing_is_halved()


def assert_nothing_is_halved() -> None:
    """Every operation has all its targets, and of its log everything from some line on."""
    sizes = set(Operation.objects.annotate(size=Count("targets")).values_list("size", flat=True))
    assert sizes == {INSTANCES}
    logs = LogLine.objects.order_by().values("operation").annotate(n=Count("pk"), first=Min("seq"), last=Max("seq"))
    assert all(log["last"] == LINES_OF_EACH and log["n"] == log["last"] - log["first"] + 1 for log in logs)
    assert Target.objects.filter(status=TargetStatus.COMPLETED).count() == Target.objects.count()
