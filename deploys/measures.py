"""What is counted of operations and their targets. Labels are ours: kinds, statuses, steps and error codes."""

from __future__ import annotations

from inventory.database.tallies import Counter, Histogram

OPERATIONS = Counter(name="release_operations_finished", help="Operations that have ended.", labels=("kind", "status"))
TARGETS = Counter(
    name="release_targets_finished",
    help="Instances in operations that have ended, with the code of their error.",
    labels=("kind", "status", "code"),
)
STEPS = Histogram(
    name="release_step_seconds",
    help="How long each step of an instance's deploy or rollback took.",
    labels=("kind", "step"),
    bounds=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
NODE_BYTES = Counter(
    name="release_node_bytes",
    help="Bytes of packages that went to nodes, of parts the part alone.",
    labels=("delivery",),
)
DOWNLOADS = Counter(name="release_downloads", help="Packages that were fetched from their hosts.", labels=("result",))
DOWNLOADED_BYTES = Counter(name="release_downloaded_bytes", help="Their size, of those that arrived whole.", labels=())
WEBHOOK_TRIES = Counter(
    name="release_webhook_tries", help="Tries to deliver an event to a webhook.", labels=("result",)
)

COUNTERS = (OPERATIONS, TARGETS, NODE_BYTES, DOWNLOADS, DOWNLOADED_BYTES, WEBHOOK_TRIES)
HISTOGRAMS = (STEPS,)
