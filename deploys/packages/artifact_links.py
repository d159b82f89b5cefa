"""Signed, expiring URLs under which a node with `delivery: pull` fetches an artifact from our web."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.urls import reverse
from django.utils.translation import gettext as _

from deploys.error_codes import ErrorCode
from deploys.packages.errors import PackageError
from deploys.told import Told
from deploys.told import marked as gettext_noop
from inventory.errors import Forbidden

# To begin the download; one in progress is not cut off. A claim before ours on the node may take some minutes to end.
VALID_SECONDS = 900
_SALT = "deploys.artifact"


def artifact_url(sha256: str, *, base_sha256: str = "") -> str:
    """Where this package's artifact can be fetched for the next minutes, or the part of it for who has that other package's.

    Raises PackageError without RELEASE_PUBLIC_URL.

    Whoever has it can fetch those bytes: it belongs in no log and no process list.
    """
    if not settings.PUBLIC_URL:
        raise PackageError(
            ErrorCode.PACKAGE_UNREACHABLE,
            Told(
                gettext_noop(
                    "The node has `delivery: pull`, but this worker does not know the address that nodes reach our web by. Set "
                    "RELEASE_PUBLIC_URL for the workers and restart them, or set the node to `delivery: push`; then retry."
                )
            ),
        )
    expires = int(time.time()) + VALID_SECONDS
    signature = _signer().signature(_signed_text(sha256, expires, base_sha256))
    base = {"base": base_sha256} if base_sha256 else {}
    query = urlencode({**base, "expires": expires, "signature": signature})
    return f"{settings.PUBLIC_URL}{reverse('artifact', args=[sha256])}?{query}"


def check_link(sha256: str, *, expires: str, signature: str, base_sha256: str = "") -> None:
    """Raise Forbidden unless we have made this link, and recently."""
    try:
        _signer().unsign(f"{_signed_text(sha256, expires, base_sha256)}:{signature}")
    except signing.BadSignature:
        raise Forbidden(_("This link was not made by us, or with another SECRET_KEY."), code="link_invalid") from None
    if int(expires) < time.time():
        raise Forbidden(_("This link has expired. Retry the deploy: it makes a new one."), code="link_expired")


def _signer() -> signing.Signer:
    return signing.Signer(salt=_SALT)


def _signed_text(sha256: str, expires: int | str, base_sha256: str) -> str:
    return ":".join(str(each) for each in (sha256, base_sha256, expires) if each)
