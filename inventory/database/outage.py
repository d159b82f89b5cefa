"""What the database may take later though it does not take it now: the one rule for it, and the one way to wait.

Whatever is no outage by this rule is an error: it is raised at once, for a traceback and an end of the work concerned.
SQLSTATEs: PostgreSQL's manual, appendix A, "Error Codes".
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from django.db import Error, InterfaceError, OperationalError, connection

logger = logging.getLogger(__name__)

T = TypeVar("T")

# The server has ended the session, or accepts none for now: shut down, crashed, starting, full; or we were silent in
# mid-transaction or without one (inventory/database/sessions.py). A refusal to connect itself bears no SQLSTATE.
_SESSION_ENDED = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04", "53300"})
_CONNECTION_EXCEPTION = "08"
# The session lives, the statement was refused, and the same one may work in a moment: read-only while a standby takes
# its primary's place, no room on its disk, no memory, another transaction in the way, a time limit or an operator.
_REFUSED_FOR_NOW = frozenset({"25006", "53100", "53200", "40001", "40P01", "55P03", "57014"})


_READ_ONLY = "25006"
_NO_CONNECTION_LEFT = "53300"
# A refusal to connect bears no SQLSTATE that the client's library hands on. PostgreSQL's words, and PgBouncer's.
_NO_CONNECTION_LEFT_WORDS = re.compile(
    r"too many (clients|connections)|connection slots are reserved|no more connections allowed", re.IGNORECASE
)
# How long a process that was refused a connection gives each one back after use, so that all get a turn.
SHARING_SECONDS = 60.0
_refused_at = float("-inf")


def is_read_only(error: BaseException | None) -> bool:
    """The database takes no writes just now: by its settings, or because it is a standby."""
    return sqlstate(error) == _READ_ONLY


def has_no_connection_left(error: BaseException | None) -> bool:
    """The server, or the pooler before it, refuses one more connection."""
    return sqlstate(error) == _NO_CONNECTION_LEFT or (
        isinstance(error, (OperationalError, psycopg.OperationalError))
        and _NO_CONNECTION_LEFT_WORDS.search(str(error)) is not None
    )


def is_short_of_connections() -> bool:
    """This process has been refused a connection within the last minute."""
    return time.monotonic() - _refused_at < SHARING_SECONDS


def _note_refusal(error: Exception) -> None:
    global _refused_at
    if has_no_connection_left(error):
        _refused_at = time.monotonic()


def is_outage(error: BaseException | None) -> bool:
    """Whether to try the same again later: the connection is lost or refused, or the server can't do it just now."""
    return is_connection_lost(error) or sqlstate(error) in _REFUSED_FOR_NOW


def is_connection_lost(error: BaseException | None) -> bool:
    """To be asked in the thread that the error came up in, and before its connection is used again."""
    state = sqlstate(error)
    if state is not None:
        return state in _SESSION_ENDED or state.startswith(_CONNECTION_EXCEPTION)
    if isinstance(error, (InterfaceError, psycopg.InterfaceError)):
        # Also raised for a cursor that is used the wrong way.
        return connection.connection is None or connection.connection.closed
    return isinstance(error, (OperationalError, psycopg.OperationalError))


def sqlstate(error: BaseException | None) -> str | None:
    """None for what the server did not say, but the client's library."""
    if isinstance(error, Error):
        error = error.__cause__
    return error.sqlstate if isinstance(error, psycopg.Error) else None


def _close() -> None:
    connection.close()


def _never() -> bool:
    return False


class Patience:
    """One caller's tries. It logs an outage when it begins and when it is over, and waits longer from try to try.

    Where the server has too few connections for all, each is closed after its use: else those who have one keep it, and
    the others never get one, a heartbeat among them.

    what: begins the log's lines. close: drops the caller's connections, so that the next try makes new ones. Not for
    two threads at a time. Code on an event loop calls it in its database thread.
    """

    def __init__(
        self,
        what: str,
        *,
        first_pause_seconds: float = 0.1,
        longest_pause_seconds: float = 2.0,
        close: Callable[[], None] = _close,
    ) -> None:
        self._what = what
        self._first_pause_seconds = first_pause_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._close = close
        self._pause_seconds = first_pause_seconds
        self._said = ""

    def attempt(self, call: Callable[[], T]) -> T | None:
        """Try it once; None in an outage. Raises any other error."""
        try:
            answer = call()
        except Exception as error:
            if not is_outage(error):
                raise
            self._begin(error)
            return None
        self._end()
        return answer

    def insist(self, call: Callable[[], T], *, gives_up: Callable[[], bool] = _never) -> T:
        """Try it until it works. Raises any other error than an outage; that too, once it `gives_up`."""
        while True:
            try:
                answer = call()
            except Exception as error:
                if not is_outage(error):
                    raise
                self._begin(error)
                if gives_up():
                    raise
            else:
                self._end()
                return answer
            self.pause()

    def pause(self) -> None:
        """Sleep before the next try."""
        time.sleep(self.next_pause())

    def next_pause(self) -> float:
        """How many seconds to sleep before the next try; longer from try to try."""
        seconds, self._pause_seconds = self._pause_seconds, min(2 * self._pause_seconds, self._longest_pause_seconds)
        return seconds

    def _begin(self, error: Exception) -> None:
        """Said anew when a server that refuses a statement goes away altogether."""
        saying = _saying(error)
        _note_refusal(error)
        self._close()
        if saying != self._said:
            logger.warning("%s: %s, trying again: %s", self._what, saying, error)
        self._said = saying

    def _end(self) -> None:
        if self._said:
            logger.info("%s: the database is back", self._what)
        self._said, self._pause_seconds = "", self._first_pause_seconds
        if is_short_of_connections():
            self._close()


def _saying(error: Exception) -> str:
    if has_no_connection_left(error):
        return "the database has no connection left"
    if is_read_only(error):
        return "the database is read-only"
    return "the database is away" if is_connection_lost(error) else "the database does not take it now"
