"""What a work loop has claimed: a target with all that its work needs, read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import Max, OuterRef, Subquery
from django.db.models.functions import Now

from deploys.models import Target
from deploys.operations.restored import IS_RESTORED
from deploys.operations.sql import unfinished
from deploys.operations.staged import staged_on
from deploys.queue.lazy_commit import commit_lazily
from deploys.states import ACTIVE, Kind, StopReason, TargetStatus
from deploys.worker import claimed_rows
from deploys.worker.assignment import Assignment, assignment_of
from deploys.worker.bases import bases_on
from deploys.worker.claim_limits import RESTED
from deploys.worker.claimed_rows import ClaimedRow
from deploys.worker.fair_share import Slots
from inventory.instances.facts import Cause, Change, record

# Of targets `t`: pending, or left by another worker, or due of those that wait on their nodes to be confirmed; rested; and no
# other operation is in progress on the instance.
CLAIMABLE = f"""
    t.kind = %(kind)s AND {unfinished("t")}
    AND (t.status = 'pending' OR t.lease_id IS NULL)
    AND (t.ask_at IS NULL OR t.ask_at <= clock_timestamp() OR t.stop_reason <> '')
    AND {RESTED}
    AND NOT EXISTS (
        SELECT FROM deploys_target other
        WHERE other.instance_id = t.instance_id AND other.status = 'in_progress' AND other.id <> t.id)
"""

# Read once, and its targets then claimed by their keys: with statistics from before the targets were inserted, the planner
# takes them for none, and joins with what it has found here would take minutes.
_WAITING = f"""
WITH warm AS MATERIALIZED (
    SELECT n.id FROM inventory_node n WHERE n.name = ANY (%(warm)s)
), pairs AS MATERIALIZED (
    SELECT o.service_id, t.operation_id, warm.id IS NOT NULL AS is_warm, i.node_id, array_agg(t.id) AS targets
    FROM deploys_target t
    JOIN deploys_operation o ON o.id = t.operation_id
    JOIN inventory_instance i ON i.id = t.instance_id
    LEFT JOIN warm ON warm.id = i.node_id
    WHERE {CLAIMABLE}
    GROUP BY o.service_id, t.operation_id, is_warm, i.node_id
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY service_id ORDER BY operation_id, is_warm DESC, node_id) AS place FROM pairs
)
SELECT service_id, targets FROM ranked WHERE place <= %(nodes)s ORDER BY operation_id, is_warm DESC, node_id
"""  # noqa: S608 - only constants are spliced in

_CLAIM = f"""
WITH free AS (
    SELECT t.id, t.status, t.fence AS prior_fence, t.step AS prior_step
    FROM deploys_target t WHERE t.id = ANY (%(targets)s) AND {CLAIMABLE}
    FOR UPDATE OF t SKIP LOCKED
)
UPDATE deploys_target t SET
    status = 'in_progress', lease_id = %(lease)s, fence = nextval('deploys_fence'), claims = t.claims + 1,
    step = CASE WHEN free.status = 'pending' THEN 'connect' ELSE t.step END,
    started_at = coalesce(t.started_at, clock_timestamp()), updated_at = clock_timestamp()
FROM free WHERE t.id = free.id
RETURNING t.id, free.status, CASE WHEN free.status = 'in_progress' THEN free.prior_fence END, free.prior_step
"""  # noqa: S608 - only constants are spliced in


def claim(
    *, kind: Kind, lease_id: int, max_nodes: int, warm_nodes: Sequence[str] = (), slots: Slots | None = None
) -> list[list[Assignment]]:
    """Claim all claimable targets of up to max_nodes (operation, node) pairs: services in turns, the oldest operation's first.

    warm_nodes: names of nodes that the caller has a connection to; within an operation these are preferred. slots: the
    caller's, which say how many of each service's it has room for; without them there is room for all.

    Returns them node by node; of a restored database none. Claims of one kind take turns, so that a node's targets never go
    to two work loops.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_advisory_xact_lock(hashtext(%s)), {IS_RESTORED}", [f"deploys.claim.{kind}"])
            if cursor.fetchone()[1]:
                return []
            cursor.execute(_WAITING, {"kind": kind, "warm": list(warm_nodes), "nodes": max_nodes})
            slots = slots or Slots(most=2 * max_nodes)
            pairs = slots.share_out(_by_service(cursor.fetchall()), at_once=max_nodes)
            targets = [target for pair in pairs for target in pair]
            if not targets:
                return []
            cursor.execute(_CLAIM, {"kind": kind, "lease": lease_id, "targets": targets})
            claimed = {row[0]: row for row in cursor.fetchall()}
        assignments = _load(claimed)
        if all(assignment.begins_with_switch for assignment in assignments):
            commit_lazily()  # The permission's commit takes it to the disk, fence and all.
        record([_begun(each) for each in assignments if claimed[each.target_id][1] == TargetStatus.PENDING])
    by_node: dict[tuple[int, int], list[Assignment]] = defaultdict(list)
    for assignment in assignments:
        by_node[assignment.operation_id, assignment.node_pk].append(assignment)
    return list(by_node.values())


def _by_service(rows: Iterable[tuple[int, list[int]]]) -> dict[int, list[list[int]]]:
    """Targets of one operation on one node stay together."""
    waiting: dict[int, list[list[int]]] = defaultdict(list)
    for service, targets in rows:
        waiting[service].append(targets)
    return waiting


def _load(claimed: dict[int, tuple[int, str, int | None, str]]) -> list[Assignment]:
    rows = claimed_rows.read(claimed)
    needed = _releases_needed(rows)
    staged = staged_on([row.instance_pk for row in rows], services={row.service_pk for row in rows})
    bases = bases_on(rows)
    others = _fences_of_others([row for row in rows if claimed[row.target_pk][2] is not None])
    jumps = claimed_rows.jumps_of(rows)
    return [
        assignment_of(
            row,
            claimed[row.target_pk][2],
            claimed[row.target_pk][3],
            needed.get(row.instance_pk, ()),
            staged.get(row.instance_pk, ()),
            others.get(row.instance_pk, 0),
            bases.get(row.instance_pk, ()),
            None if row.jump_pk is None else jumps[row.jump_pk],
        )
        for row in rows
    ]


def _fences_of_others(recovered: Sequence[ClaimedRow]) -> dict[int, int]:
    if not recovered:
        return {}
    others = (
        Target.objects.filter(instance__in=[row.instance_pk for row in recovered], fence__isnull=False)
        .exclude(pk__in=[row.target_pk for row in recovered])
        .order_by()
    )
    return dict(others.values_list("instance_id").annotate(Max("fence")))


_NEEDED = f"""
SELECT t.instance_id, p.release
FROM deploys_target t
JOIN deploys_operation o ON o.id = t.operation_id
JOIN deploys_package p ON p.id = o.package_id
WHERE t.instance_id = ANY(%s) AND {unfinished("t")} AND t.id <> ALL(%s)
"""  # noqa: S608 - only constants are spliced in


def _releases_needed(rows: Sequence[ClaimedRow]) -> dict[int, tuple[str, ...]]:
    needed: dict[int, tuple[str, ...]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_NEEDED, [[row.instance_pk for row in rows], [row.target_pk for row in rows]])
        for instance_pk, release in cursor.fetchall():
            needed[instance_pk] = (*needed.get(instance_pk, ()), release)
    return needed


def _begun(assignment: Assignment) -> Change:
    cause = Cause(
        operation_id=assignment.operation_id, operation_name=assignment.operation_name, attempt=assignment.attempt
    )
    moved = (TargetStatus.PENDING, TargetStatus.IN_PROGRESS)
    return Change(instance_id=assignment.instance_pk, actor=assignment.actor, cause=cause, target=moved)


def let_go(lease_id: int, *, except_targets: Iterable[int]) -> int:
    """Free what this lease holds though its work loop works on it no more: a claim's answer was lost, or its work broke off."""
    held = Target.objects.filter(lease=lease_id, status=TargetStatus.IN_PROGRESS)
    return held.exclude(pk__in=list(except_targets)).update(lease=None, updated_at=Now())


@dataclass(frozen=True)
class StopRequest:
    """by: the rollback that goes first, as (id, who asked for it); None for a cancel, and when it has ended meanwhile."""

    reason: StopReason
    by: tuple[str, str] | None


def stop_requests(target_ids: Iterable[int]) -> dict[int, StopRequest]:
    """Which of these targets have been asked to stop, and why."""
    asked = Target.objects.filter(pk__in=list(target_ids)).exclude(stop_reason=StopReason.NONE)
    rollback = Target.objects.filter(kind=Kind.ROLLBACK, instance=OuterRef("instance"), status__in=ACTIVE)
    by_id, by_whom = (Subquery(rollback.values(f"operation__{name}")[:1]) for name in ("public_id", "requested_by"))
    rows = asked.annotate(by_id=by_id, by_whom=by_whom).values_list("pk", "stop_reason", "by_id", "by_whom")
    return {
        pk: StopRequest(StopReason(reason), (name, whom) if reason == StopReason.SUPERSEDE and name else None)
        for pk, reason, name, whom in rows
    }
