"""What a package URL must look like. Whether its host is allowed is for the download to say."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from inventory.wire.limits import MAX_URL_LENGTH

# Printable ASCII but the characters that URL parsers disagree about (RFC 3986 wants them percent-encoded).
URL_PATTERN = r"https?://[!#-;=?-\[\]_a-z~]+"
_URL = re.compile(URL_PATTERN, re.IGNORECASE)


def is_package_url(value: object) -> bool:
    """True for an absolute http or https URL with a host, at most MAX_URL_LENGTH long, nothing in it left unencoded."""
    if not isinstance(value, str) or len(value) > MAX_URL_LENGTH or _URL.fullmatch(value) is None:
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
