"""Rules about targets as SQL text, made from what Python knows, so that no statement spells them out."""

from __future__ import annotations

from deploys.states import ACTIVE, ON_NODE

_ACTIVE = ", ".join(f"'{status.value}'" for status in ACTIVE)
_ON_NODE = ", ".join(f"'{step.value}'" for step in ON_NODE)


def unfinished(target: str) -> str:
    """The condition that a target is unfinished. target: what the statement calls `deploys_target`.

    Text and not parameters: only then does the planner see that the partial indexes on unfinished targets serve.
    """
    return f"{target}.status IN ({_ACTIVE})"


def is_on_node(step: str) -> str:
    """The condition that work on the node itself is in progress. step: what the statement calls the step."""
    return f"{step} IN ({_ON_NODE})"
