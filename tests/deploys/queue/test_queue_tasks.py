"""FAULTS.md 31: a message that waits through an upgrade still runs."""

from __future__ import annotations

import inspect
import pydoc

import pytest
from django.db import connection, transaction
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from deploys.queue.announce import enqueue_work
from deploys.queue.listener import Listener
from deploys.queue.names import DEPLOYS, ROLLBACKS, work_channel


@pytest.mark.parametrize(("path", "arguments"), [("deploys.tasks.drive", (1,)), ("deploys.tasks.canary", (1, 2))])
def test_what_older_messages_name_is_still_there(path: str, arguments: tuple[int, ...]) -> None:
    task = pydoc.locate(path)

    assert callable(task)
    inspect.signature(task).bind(*arguments)


@pytest.mark.django_db
def test_a_hint_is_a_path_and_a_number_in_its_own_queue() -> None:
    enqueue_work(queue=ROLLBACKS, operation_id=7, messages=2)

    messages = list(OrmQ.objects.all())
    assert [message.key for message in messages] == [ROLLBACKS, ROLLBACKS]
    task = SignedPackage.loads(messages[0].payload)
    assert (task["func"], task["args"], task["kwargs"]) == ("deploys.tasks.drive", (7,), {})


@pytest.mark.django_db(transaction=True)
def test_running_drives_are_told_at_the_commit() -> None:
    listener = Listener(work_channel(DEPLOYS))
    listener.listen()
    with transaction.atomic():
        enqueue_work(queue=DEPLOYS, operation_id=7)
        assert not listener.wait(timeout_seconds=0.1)

    assert listener.wait(timeout_seconds=1)
    listener.close()
    connection.close()
