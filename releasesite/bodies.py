"""Request bodies as gunicorn hands them over: chunked ones are read, and what nobody has read is before the answer.

A connection that was said to be kept open would be closed over an unread body, and the answer to a client that is still
sending could be lost.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

# More than any call takes: each has its own limit (`releasesite.api.parsers`).
_CHUNKED_BYTES = 16 * 1024**2
_DRAINED_BYTES = 64 * 1024**2
_DRAINED_SECONDS = 5.0
_CHUNK_BYTES = 64 * 1024


class WholeBodies:
    """WSGI middleware. It does nothing under a server that does not say where a body ends (`wsgi.input_terminated`)."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not environ.get("wsgi.input_terminated") or not _has_body(environ):
            return self._application(environ, start_response)
        if _is_chunked(environ):
            # Django reads as many bytes as this says, or as there are.
            environ["CONTENT_LENGTH"] = str(_CHUNKED_BYTES)

        def start(*head: Any) -> Any:
            if not _drain(environ):
                _announce_close(start_response)
            return start_response(*head)

        return self._application(environ, start)


def _is_chunked(environ: dict[str, Any]) -> bool:
    return "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()


def _has_body(environ: dict[str, Any]) -> bool:
    return _is_chunked(environ) or environ.get("CONTENT_LENGTH", "0") not in ("", "0")


def _drain(environ: dict[str, Any]) -> bool:
    """Whether the body has been read to its end: bounded, because whoever sends it need not be known."""
    end = time.monotonic() + _DRAINED_SECONDS
    left = _DRAINED_BYTES
    with _own_timeout(environ.get("gunicorn.socket")) as set_timeout:
        while left > 0 and (seconds := end - time.monotonic()) > 0:
            set_timeout(seconds)
            try:
                data = environ["wsgi.input"].read(_CHUNK_BYTES)
            except Exception:
                return False
            if not data:
                return True
            left -= len(data)
    return False


@contextmanager
def _own_timeout(connection: socket.socket | None) -> Iterator[Callable[[float], None]]:
    if connection is None:
        yield lambda seconds: None
        return
    before = connection.gettimeout()
    try:
        yield connection.settimeout
    finally:
        connection.settimeout(before)


def _announce_close(start_response: Any) -> None:
    """gunicorn's own `start_response` is a method of its response, which writes the Connection header."""
    response = getattr(start_response, "__self__", None)
    if response is not None and hasattr(response, "force_close"):
        response.force_close()
