"""A line in an operation's log from whoever is not at work on one of its targets."""

from __future__ import annotations

import json
from collections.abc import Mapping

from django.db import connection

from deploys.states import Step
from deploys.told import Telling, stored
from deploys.told import marked as _

# How the log tells that a command begins; what it prints comes behind. By the step that it is run in.
COMMAND_BEGINS: Mapping[Step, str] = {
    Step.BEFORE_SWITCH: _("The before-switch command begins. It has %(seconds)s s."),
    Step.RESTART: _("The restart command begins. It has %(seconds)s s."),
    Step.REVERT: _("The restart command begins again, for the way back."),
}

# The number comes from the operation's row, which stays locked until the commit: readers see the lines in order.
_APPEND = """
WITH numbered AS (
    UPDATE deploys_operation SET log_seq = log_seq + 1, updated_at = clock_timestamp() WHERE id = %s
    RETURNING id, log_seq
)
INSERT INTO deploys_logline (operation_id, seq, at, step, stream, text, told)
SELECT id, log_seq, clock_timestamp(), '', 'system', %s, %s::jsonb FROM numbered
"""


def write_system_line(operation_id: int, message: str | Telling) -> None:
    text, told = stored(message)
    with connection.cursor() as cursor:
        cursor.execute(_APPEND, [operation_id, text, json.dumps(told) if told else None])
