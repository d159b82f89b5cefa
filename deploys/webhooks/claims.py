"""What is to be sent now, and how a try went: rows, claimed by one worker host at a time and marked by it alone.

A claim ends by itself, so that what a killed sender had claimed is sent by another: at least once, never by two at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import Any

from django.db import connection

from deploys.webhook_models import WebhookDelivery
from deploys.webhooks.exchange import DEADLINE_SECONDS, Answer

# Beyond the deadline of a try: name look-ups and a slow database.
CLAIM_SECONDS = DEADLINE_SECONDS + 10
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 900.0
# Of a webhook whose receiver says nothing at all: its other deliveries would each wait for the deadline.
_LONGEST_REST_SECONDS = 60.0

# Of each webhook the first delivery that is due, if no older one of its subject is still to be sent. A row that another
# host has locked is being claimed there; one that it has just claimed is no longer due when its lock is gone.
_CLAIM = """
WITH chosen AS MATERIALIZED (
    SELECT first.id
    FROM deploys_webhook w CROSS JOIN LATERAL (
        SELECT d.id FROM deploys_webhookdelivery d
        WHERE d.webhook_id = w.id AND d.status = 'pending' AND d.due_at <= clock_timestamp() AND NOT EXISTS (
            SELECT FROM deploys_webhookdelivery older
            WHERE older.webhook_id = w.id AND older.subject = d.subject AND older.status = 'pending' AND older.id < d.id)
        ORDER BY d.id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) first
    WHERE w.is_active AND w.rests_until <= clock_timestamp() AND w.id <> ALL(%(busy)s)
        AND (w.unanswered > 0) = %(is_silent)s
    ORDER BY first.id LIMIT %(most)s
)
UPDATE deploys_webhookdelivery d SET
    claim = %(claim)s, attempts = attempts + 1, attempted_at = clock_timestamp(),
    due_at = clock_timestamp() + make_interval(secs => %(claim_seconds)s)
FROM chosen WHERE d.id = chosen.id RETURNING d.id
"""


def claim(*, busy: Collection[int], most: int, is_silent: bool) -> Sequence[WebhookDelivery]:
    """Up to `most` deliveries to send now, one a webhook at the most, with their webhooks.

    busy: the webhooks to leave out. is_silent: only of those whose last try got no answer; else only of the others.
    """
    if most <= 0:
        return ()
    wanted: dict[str, Any] = {"busy": list(busy), "most": most, "is_silent": is_silent}
    wanted |= {"claim": secrets.token_hex(16), "claim_seconds": CLAIM_SECONDS}
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, wanted)
        claimed = [row[0] for row in cursor.fetchall()]
    if not claimed:
        return ()
    return list(WebhookDelivery.objects.filter(pk__in=claimed).select_related("webhook").order_by("pk"))


# A failed try is followed by another until the one behind `expires_at`.
_MARK = """
UPDATE deploys_webhookdelivery SET
    status = CASE WHEN %(error)s = '' THEN 'sent' WHEN expires_at <= clock_timestamp() THEN 'failed' ELSE 'pending' END,
    finished_at = CASE WHEN %(error)s = '' OR expires_at <= clock_timestamp() THEN clock_timestamp() END,
    due_at = clock_timestamp() + make_interval(secs => least(
        greatest(%(pause)s, %(first)s * power(2, least(attempts - 1, 20))), %(longest)s)),
    claim = '', answer_status = %(status)s, answer = %(answer)s, error = %(error)s
WHERE id = %(id)s AND claim = %(claim)s
"""

_REST = """
UPDATE deploys_webhook SET unanswered = unanswered + 1,
    rests_until = clock_timestamp() + make_interval(secs => least(%(first)s * power(2, least(unanswered, 20)), %(longest)s))
WHERE id = %(id)s
"""
_NO_REST = (
    "UPDATE deploys_webhook SET unanswered = 0, rests_until = clock_timestamp() WHERE id = %(id)s AND unanswered > 0"
)


def mark(delivery: WebhookDelivery, answer: Answer) -> bool:
    """Write down how the try went. False when the claim had ended by then: somebody else sends it, or has."""
    pauses = {"first": _FIRST_PAUSE_SECONDS, "longest": _LONGEST_PAUSE_SECONDS, "pause": answer.pause_seconds}
    told = {"status": answer.status, "answer": answer.excerpt, "error": answer.error}
    rest = {"id": delivery.webhook_id, "first": _FIRST_PAUSE_SECONDS, "longest": _LONGEST_REST_SECONDS}
    with connection.cursor() as cursor:
        cursor.execute(_NO_REST if answer.status is not None else _REST, rest)
        cursor.execute(_MARK, {**pauses, **told, "id": delivery.pk, "claim": delivery.claim})
        return bool(cursor.rowcount)
