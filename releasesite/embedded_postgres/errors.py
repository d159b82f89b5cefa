from __future__ import annotations


class EmbeddedServerError(Exception):
    """The embedded server cannot be had; the message says why and what to do."""
