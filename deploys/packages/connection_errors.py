"""Why a connection, or what was asked over it, failed: in words that fit behind a colon."""

from __future__ import annotations

import http.client
import socket
import ssl

import urllib3

from deploys.packages.pinned_http import READ_SECONDS
from deploys.packages.proxy import ProxyTrouble
from deploys.told import Told, verbatim
from deploys.told import marked as _
from inventory.security.redaction import scrub


def explain(error: BaseException) -> Told:
    """The cause in a few words, without the URL that requests puts into its messages."""
    found = causes(error)
    for trouble in found:
        # Before what it was made of: that is the proxy's, and not the host's.
        if isinstance(trouble, ProxyTrouble):
            return trouble.told
    for cause in found:
        match cause:
            case ssl.SSLCertVerificationError():
                return Told(_("its certificate is not valid: %(said)s"), {"said": scrub(cause.verify_message)})
            case ssl.SSLError():
                return Told(_("TLS failed: %(said)s"), {"said": scrub(cause.reason or str(cause))})
            case socket.gaierror():
                return Told(_("the host's name can't be resolved: %(said)s"), {"said": str(cause.strerror)})
            case TimeoutError() | urllib3.exceptions.TimeoutError():
                text = _("nothing came from the host for %(seconds)s seconds, or it took no connection")
                return Told(text, {"seconds": f"{READ_SECONDS:g}"})
            case ConnectionRefusedError():
                return Told(_("the host refuses connections"))
            case urllib3.exceptions.IncompleteRead() | http.client.IncompleteRead():
                return Told(_("the connection ended in the middle"))
            case http.client.HTTPException():
                return Told(_("the host's answer is not HTTP (%(error)s)"), {"error": type(cause).__name__})
            case OSError() if cause.strerror and cause.errno:
                return verbatim(cause.strerror.lower())
    return Told(_("the connection failed (%(error)s)"), {"error": type(error).__name__})


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
