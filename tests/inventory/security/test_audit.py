"""The audit is append-only, hash-chained, and says where it was broken."""

from __future__ import annotations

import json
import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.actors import SYSTEM, Actor, ActorKind
from inventory.models import AuditEntry
from inventory.security import audit
from tests.support.fleet import make_service

ANN = Actor(kind=ActorKind.PERSON, name="ann", address="10.0.0.7")


def record(number: int = 1) -> None:
    audit.record(
        actor=ANN,
        action="deploy.start",
        object_kind="deploy",
        object_id=f"deploy-{number}",
        service="user-service",
        detail={"instances": number, "why": 'ünïcode \u2028 \x01 "quoted"', "nested": [True, None, 1.5]},
    )


def tamper(sql: str) -> None:
    """As someone would who owns the database."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE inventory_auditentry DISABLE TRIGGER USER")
        cursor.execute(sql)
        cursor.execute("ALTER TABLE inventory_auditentry ENABLE TRIGGER USER")


@pytest.mark.django_db
def test_it_keeps_who_did_what_to_what_from_where() -> None:
    record(3)

    entry = AuditEntry.objects.get()
    assert (entry.actor_kind, entry.actor_name, entry.actor_address) == ("person", "ann", "10.0.0.7")
    assert (entry.action, entry.object_kind, entry.object_id) == ("deploy.start", "deploy", "deploy-3")
    assert entry.service == "user-service"
    assert entry.detail["instances"] == 3


@pytest.mark.django_db
def test_an_untouched_audit_is_intact() -> None:
    for number in range(5):
        record(number)
    audit.record_all(actor=SYSTEM, events=[audit.Event(action="inventory.create", object_id=str(n)) for n in range(5)])

    verdict = audit.verify()

    assert verdict.broken is None
    assert verdict.count == 10
    assert verdict.head == AuditEntry.objects.latest("pk").hash


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    ["action = 'deploy.cancel'", "actor_name = 'bob'", "detail = '{\"instances\": 4}'", "at = at + interval '1 s'"],
)
def test_a_changed_entry_is_found(change: str) -> None:
    for number in range(4):
        record(number)

    tamper(f"UPDATE inventory_auditentry SET {change} WHERE id = 3")

    broken = audit.verify().broken
    assert broken == audit.Break(entry_id=3, reason="its content was changed")


@pytest.mark.django_db
def test_a_removed_entry_is_found() -> None:
    for number in range(4):
        record(number)

    tamper("DELETE FROM inventory_auditentry WHERE id = 2")

    assert audit.verify().broken == audit.Break(entry_id=3, reason="entries 2 to 2 are missing")


@pytest.mark.django_db
def test_a_removed_end_is_found_by_a_hash_noted_earlier() -> None:
    record(1)
    record(2)
    head = audit.verify().head

    tamper("DELETE FROM inventory_auditentry WHERE id = 2")

    assert audit.verify().broken is None
    assert not audit.verify(known_head=head).has_known_head
    with pytest.raises(CommandError, match="cut off"):
        call_command("audit_verify", head=head, stdout=StringIO())


@pytest.mark.django_db
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE inventory_auditentry SET actor_name = 'bob'",
        "DELETE FROM inventory_auditentry",
    ],
)
def test_the_database_refuses_changes(sql: str) -> None:
    record()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)

    assert AuditEntry.objects.get().actor_name == "ann"


@pytest.mark.django_db
def test_the_database_refuses_truncation() -> None:
    record()

    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        # The test database lets the table be emptied between tests.
        cursor.execute("ALTER TABLE inventory_auditentry ENABLE TRIGGER audit_no_truncate")
        cursor.execute("TRUNCATE inventory_auditentry")

    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db
def test_an_entry_goes_when_what_it_tells_of_is_rolled_back() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record()
        raise ZeroDivisionError

    assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_make_one_chain() -> None:
    def write() -> None:
        try:
            for number in range(20):
                with transaction.atomic():
                    record(number)
        finally:
            connection.close()

    writers = [threading.Thread(target=write) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    verdict = audit.verify()
    assert verdict.broken is None
    assert verdict.count == 120


@pytest.mark.django_db
def test_secrets_are_masked() -> None:
    audit.record(
        actor=ANN,
        action="deploy.start",
        detail={"url": "https://bob:hunter22@host/p.tgz?sig=abc", "list": ["Authorization: Bearer rxt_0123456789"]},
    )

    text = json.dumps(AuditEntry.objects.get().detail)
    assert "https://host/p.tgz" in text
    assert not any(secret in text for secret in ("hunter22", "sig=abc", "rxt_0123456789"))


@pytest.mark.django_db
def test_it_verifies_by_command() -> None:
    record()
    out = StringIO()

    call_command("audit_verify", stdout=out)

    assert out.getvalue().startswith("audit intact: 1 entries, head ")


@pytest.mark.django_db
def test_the_command_says_where_it_is_broken() -> None:
    record(1)
    record(2)
    tamper("UPDATE inventory_auditentry SET service = 'x' WHERE id = 2")

    with pytest.raises(CommandError, match="broken at entry 2: its content was changed; the 1 entries before"):
        call_command("audit_verify", stdout=StringIO())


@pytest.mark.django_db
def test_it_exports_json_lines() -> None:
    record(1)
    record(2)
    out = StringIO()

    call_command("audit_export", after=1, stdout=out)

    [line] = out.getvalue().splitlines()
    exported = json.loads(line)
    assert exported["id"] == 2
    assert exported["actor"] == {"kind": "person", "name": "ann", "address": "10.0.0.7"}
    assert exported["object"] == {"kind": "deploy", "id": "deploy-2"}
    assert exported["prev_hash"] == AuditEntry.objects.get(pk=1).hash


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)


@pytest.mark.django_db
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(), max_size=300),
    object_id=st.text(st.characters(), max_size=300),
    detail=st.dictionaries(st.text(st.characters(), max_size=8), json_values, max_size=4),
)
def test_whatever_is_recorded_verifies(name: str, object_id: str, detail: dict[str, object]) -> None:
    actor = Actor(kind=ActorKind.TOKEN, name=name)

    audit.record(actor=actor, action="any", object_id=object_id, detail=detail)

    assert audit.verify().broken is None


def test_the_history_of_a_thing_in_the_admin_is_its_audit(admin_client: Client) -> None:
    service = make_service()
    audit.record(actor=ANN, action="service.hold", object_kind="service", object_id=service.name, service=service.name)
    audit.record(actor=ANN, action="node.retire", object_kind="node", object_id="web-1")
    answer = admin_client.get(reverse("admin:inventory_service_history", args=[service.pk]), follow=True)
    assert [entry.action for entry in answer.context["cl"].result_list] == ["service.hold"]
