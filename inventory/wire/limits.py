"""How much a request may say, over HTTP and on a page alike."""

from __future__ import annotations

MAX_INSTANCES = 10_000
MAX_URL_LENGTH = 2000
MAX_REASON_LENGTH = 1000
MAX_CURSOR = 2**63 - 1
MAX_LINES = 5000
MAX_ATTEMPT = 32_767

# How long a switch may wait to be confirmed.
MIN_CONFIRM_SECONDS = 10
MAX_CONFIRM_SECONDS = 3600
