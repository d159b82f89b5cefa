"""What stops the demo."""

from __future__ import annotations


class DemoError(Exception):
    """str() says what happened, why, and what to do about it, for the person at the terminal."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM. Not an Exception, like KeyboardInterrupt: nothing may swallow it on its way out."""
