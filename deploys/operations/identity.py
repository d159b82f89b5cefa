"""Whether a request asks for what an operation was made of. A link's query and userinfo are credentials, no identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from deploys.models import Operation
from inventory.security.redaction import redact_url

# A request by its keys; `package_url` as it was given, `sha256` where it was.
Asked = Mapping[str, object]


def fingerprint(asked: Asked) -> str:
    """A digest that two requests share when they ask for the same."""
    return _digest({**asked, "package_url": _package(asked)})


def is_same_request(operation: Operation, asked: Asked) -> bool:
    if operation.fingerprint == fingerprint(asked):
        return True
    # An earlier release took the whole link for identity: the operation's own tells what it made of it.
    then = {**asked, "package_url": operation.package_url}
    return operation.fingerprint == _digest(then) and _package(then) == _package(asked)


def use_newer_link(operation: Operation, asked: Asked) -> None:
    """The link of a request that came again: the earlier one may have expired while the operation waited.

    A package that was refused by the earlier link is asked for once more by whatever is still to be done.
    """
    url = str(asked["package_url"])
    if not url or url == operation.package_url:
        return
    unfinished = Operation.objects.filter(pk=operation.pk, finished_at=None)
    if unfinished.update(package_url=url, package_error_code="", package_error_message="", package_error_told=None):
        return
    # A retry may need it. Of an operation that has ended another address would say what was not so.
    if redact_url(url) == redact_url(operation.package_url):
        Operation.objects.filter(pk=operation.pk).update(package_url=url)


def _package(asked: Asked) -> str:
    """What says which package is meant: its digest, where that is given, wherever the package lies."""
    return "" if asked.get("sha256") else redact_url(str(asked["package_url"]))


def _digest(asked: Asked) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
