"""What counts as an outage, asked of real errors of a real PostgreSQL."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import Error, connection, transaction

from inventory.database.outage import Patience, is_connection_lost, is_outage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def usable_connection_afterwards() -> Iterator[None]:
    yield
    connection.close()


def error_of(call: Callable[[], object]) -> Exception:
    with pytest.raises((Error, psycopg.Error)) as caught:
        call()
    return caught.value


def execute(*statements: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def raised(sqlstate: str) -> Callable[[], None]:
    """By the server, as it raises it itself."""
    return lambda: execute(f"DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{sqlstate}'; END $$")


def ended_by_another() -> None:
    execute("SELECT 1")
    with psycopg.connect(**another()) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
    execute("SELECT 1")


def silent_in_mid_transaction() -> None:
    execute("SET LOCAL idle_in_transaction_session_timeout = '20ms'", "SELECT 1")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '20ms'")
        threading.Event().wait(0.3)
        cursor.execute("SELECT 1")


def closed_under_it() -> None:
    with connection.cursor() as cursor:
        connection.connection.close()
        cursor.execute("SELECT 1")


def nobody_listens() -> None:
    psycopg.connect("host=127.0.0.1 port=1 connect_timeout=2")


def no_such_host() -> None:
    psycopg.connect("host=nowhere.invalid connect_timeout=2")


def another() -> dict[str, Any]:
    return {
        key: value
        for key, value in connection.get_connection_params().items()
        if key in ("host", "port", "user", "dbname")
    }


@pytest.mark.parametrize(
    "call", [ended_by_another, silent_in_mid_transaction, closed_under_it, nobody_listens, no_such_host]
)
def test_a_lost_or_refused_connection_is_an_outage(call: Callable[[], None]) -> None:
    error = error_of(call)

    assert is_connection_lost(error)
    assert is_outage(error)


@pytest.mark.parametrize("sqlstate", ["08006", "57P01", "57P02", "57P03", "57P05", "25P04", "53300"])
def test_so_is_what_the_server_says_when_it_ends_or_refuses_a_session(sqlstate: str) -> None:
    assert is_connection_lost(error_of(raised(sqlstate)))


@pytest.mark.parametrize("sqlstate", ["25006", "53100", "53200", "40001", "40P01", "55P03", "57014"])
def test_a_statement_that_is_refused_for_now_is_tried_again(sqlstate: str) -> None:
    error = error_of(raised(sqlstate))

    assert is_outage(error)
    assert not is_connection_lost(error)


def test_so_is_one_that_took_too_long() -> None:
    assert is_outage(error_of(lambda: execute("SET LOCAL statement_timeout = '20ms'", "SELECT pg_sleep(5)")))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT no_such_column FROM deploys_target",
        "SELECT FROM no_such_table",
        "SELECT no_such_function()",
        "SELECT 1 / 0",
        "SELECT 'text'::integer",
        "INSERT INTO deploys_target (id) VALUES (1)",
        "SELECT FROM deploys_target WHERE",
    ],
)
def test_anything_else_is_an_error(statement: str) -> None:
    assert not is_outage(error_of(lambda: execute(statement)))


@pytest.mark.parametrize("sqlstate", ["P0001", "XX000", "XX001", "58030", "42501", "25P02", "53400"])
def test_so_is_what_does_not_pass_by_itself(sqlstate: str) -> None:
    assert not is_outage(error_of(raised(sqlstate)))


def test_a_cursor_used_the_wrong_way_is_an_error() -> None:
    def use_closed() -> None:
        with connection.cursor() as cursor:
            pass
        cursor.execute("SELECT 1")

    assert not is_outage(error_of(use_closed))


@pytest.mark.parametrize("error", [None, OSError("no space left"), ConnectionError("of a package host"), ValueError()])
def test_what_is_not_of_the_database_is_no_outage(error: Exception | None) -> None:
    assert not is_outage(error)


def test_insisting_survives_a_lost_connection_and_logs_it_once(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    def cut_twice() -> str:
        tries.append(1)
        if len(tries) < 3:
            ended_by_another()
        return "done"

    with caplog.at_level(logging.INFO, logger="inventory.database.outage"):
        assert Patience("work", first_pause_seconds=0.01).insist(cut_twice) == "done"

    assert [record.getMessage().split(",")[0] for record in caplog.records] == [
        "work: the database is away",
        "work: the database is back",
    ]


def test_insisting_raises_any_other_error_at_once() -> None:
    tries: list[int] = []

    def broken() -> None:
        tries.append(1)
        execute("SELECT FROM no_such_table")

    error_of(lambda: Patience("work").insist(broken))

    assert len(tries) == 1


def test_insisting_gives_up_when_asked_to() -> None:
    assert is_outage(error_of(lambda: Patience("work").insist(nobody_listens, gives_up=lambda: True)))


def test_an_attempt_is_none_in_an_outage_and_leaves_a_connection_to_go_on_with() -> None:
    patience = Patience("work")

    assert patience.attempt(closed_under_it) is None
    assert patience.attempt(lambda: execute("SELECT 1") or "done") == "done"  # type: ignore[func-returns-value]
