"""What an instance runs, and the StatusChange rows that tell of it, are written by one module and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from inventory.actors import SYSTEM
from inventory.instances.facts import COLUMNS, Change, Effect, record
from inventory.models import Instance, StatusChange
from tests.support.fleet import make_instances, make_node, make_service

WRITER = Path("inventory/instances/facts.py")
APPS = ("inventory", "deploys", "rollbacks", "releasesite")
WRITING_SQL = re.compile(r"(UPDATE\s+inventory_instance\b|INSERT\s+INTO\s+inventory_(statuschange|instance)\b)", re.I)
WRITING_CALLS = {"update", "create", "get_or_create", "update_or_create", "bulk_create", "bulk_update", "save"}


def modules() -> Iterator[Path]:
    for app in APPS:
        for path in (Path(settings.BASE_DIR) / app).rglob("*.py"):
            relative = path.relative_to(settings.BASE_DIR)
            if "migrations" not in relative.parts and relative != WRITER:
                yield relative


def writes(tree: ast.AST) -> Iterator[str]:
    """Of the facts' columns and of StatusChange: assignments, ORM calls, SQL."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Store()) if name in COLUMNS:
                yield f"{node.lineno}: sets .{name}"
            case ast.Call(func=ast.Name(id="StatusChange" as name)):
                yield f"{node.lineno}: makes a {name}"
            case ast.Call(func=ast.Attribute(attr=call)) if call in WRITING_CALLS:
                words = {word.value for word in ast.walk(node) if isinstance(word, ast.Constant)}
                names = {keyword.arg for keyword in node.keywords} | words
                if names & set(COLUMNS) or "StatusChange" in ast.unparse(node.func):
                    yield f"{node.lineno}: {ast.unparse(node.func)}"
            case ast.Constant(value=str(text)) if WRITING_SQL.search(text):
                yield f"{node.lineno}: SQL"


def test_no_other_module_writes_what_an_instance_runs_or_tells_of_a_change() -> None:
    found = {str(path): list(writes(ast.parse((Path(settings.BASE_DIR) / path).read_text()))) for path in modules()}

    assert len(found) > 200
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "instance.running_version = 'v1'",
        "Instance.objects.filter(pk=1).update(run_status='failed')",
        "instance.save(update_fields=['release_history'])",
        "StatusChange.objects.bulk_create(rows)",
        "StatusChange(field='version')",
        "cursor.execute('UPDATE inventory_instance SET run_status = 1')",
    ],
)
def test_it_would_be_seen(source: str) -> None:
    assert list(writes(ast.parse(source)))


@pytest.fixture
def instance(db: None) -> Instance:
    (one,) = make_instances(make_service(), make_node(), 1)
    return one


def change(instance: Instance, effect: Effect) -> Change:
    return Change(instance_id=instance.pk, actor=SYSTEM, note="why", effect=effect)


def test_several_changes_of_one_instance_follow_each_other(instance: Instance) -> None:
    record([
        change(instance, Effect(version="v1", run_status="running", is_expected=True, history="push")),
        change(instance, Effect(version="v2", release="v2@0123456789ab", sha256="a" * 64, history="push")),
        change(instance, Effect(health="healthy")),
    ])  # fmt: skip

    instance.refresh_from_db()
    assert (instance.running_version, instance.running_release) == ("v2", "v2@0123456789ab")
    assert (instance.expected_version, instance.running_sha256) == ("v1", "a" * 64)
    assert instance.release_history == ["v1", "v2@0123456789ab"]
    rows = StatusChange.objects.order_by("pk").values_list("field", "old", "new", "note")
    assert list(rows) == [
        ("version", "", "v1", "why"),
        ("run_status", "unknown", "running", "why"),
        ("version", "v1", "v2", "why"),
        ("health", "unknown", "healthy", "why"),
    ]


def test_what_says_nothing_new_changes_nothing(instance: Instance) -> None:
    record([change(instance, Effect(version="v1", run_status="running"))])
    instance.refresh_from_db()

    record([change(instance, Effect(version="v1", run_status="running"))])

    before, rows = instance.changed_at, StatusChange.objects.count()
    instance.refresh_from_db()
    assert instance.changed_at == before
    assert rows == 2


def test_a_rollback_goes_back_to_where_its_release_stands(instance: Instance) -> None:
    for version in ("v1", "v2", "v3"):
        record([change(instance, Effect(version=version, history="push"))])

    record([change(instance, Effect(version="v1", history="pop"))])

    instance.refresh_from_db()
    assert instance.release_history == ["v1"]


def test_ten_thousand_changes_take_two_statements_a_batch(
    db: None, django_assert_num_queries: object, instance: Instance
) -> None:
    changes = [change(instance, Effect(health=("healthy", "unhealthy")[number % 2])) for number in range(10_000)]

    with django_assert_num_queries(2 * 3):  # type: ignore[operator]  # read, update, insert twice
        record(changes)

    assert StatusChange.objects.count() == 10_000
