"""Why a connection, or what was asked over it, failed: in words that fit behind a colon."""

from __future__ import annotations

import http.client
import socket
import ssl

import urllib3

from deploys.packages.pinned_http import READ_SECONDS
from inventory.security.redaction import scrub


def explain(error: BaseException) -> str:
    """The cause in a few words, without the URL that requests puts into its messages."""
    for cause in causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not valid: {scrub(cause.verify_message)}"
            case ssl.SSLError():
                return f"TLS failed: {scrub(cause.reason or str(cause))}"
            case socket.gaierror():
                return f"the host's name can't be resolved: {cause.strerror}"
            case TimeoutError() | urllib3.exceptions.TimeoutError():
                return f"nothing came from the host for {READ_SECONDS:g} seconds, or it took no connection"
            case ConnectionRefusedError():
                return "the host refuses connections"
            case urllib3.exceptions.IncompleteRead() | http.client.IncompleteRead():
                return "the connection ended in the middle"
            case http.client.HTTPException():
                return f"the host's answer is not HTTP ({type(cause).__name__})"
            case OSError() if cause.strerror and cause.errno:
                return cause.strerror.lower()
    return f"the connection failed ({type(error).__name__})"


def causes(error: BaseException) -> list[BaseException]:
    """The error and all it was made of, the innermost first."""
    found: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        cause = todo.pop()
        if isinstance(cause, BaseException) and cause not in found:
            found.append(cause)
            todo += [cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args]
    return found[::-1]
