"""How often a target may be claimed, and how long it rests between claims (docs/architecture.md, "Blame by evidence")."""

from __future__ import annotations

# Deaths of workers, each proven, while their work on the target had begun: it would kill the next one too.
MAX_DEATHS = 5
# Claims whatever they ended for. With the pauses that takes a quarter of an hour at the least.
MAX_CLAIMS = 20
# So often a claim may end for what the target itself has met (its node's refusal, an error of ours) before it is believed.
MAX_REFUSALS = 5

# The first ones follow each other at once, for a recovery after an honest death must not wait.
CLAIMS_AT_ONCE = 3
LONGEST_PAUSE_SECONDS = 60

# Of targets `t`. One that has been asked to stop rests no more: a cancel has a bound of its own.
RESTED = f"""
    (t.claims <= {CLAIMS_AT_ONCE} OR t.stop_reason <> ''
    OR t.updated_at <= clock_timestamp()
        - interval '1 second' * least({LONGEST_PAUSE_SECONDS}, power(2, least(t.claims, 20) - {CLAIMS_AT_ONCE + 1})))
"""
