"""What a package URL must look like. Whether its host is allowed is for the download to say."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from inventory.wire.limits import MAX_URL_LENGTH

# Printable ASCII but the characters that URL parsers disagree about (RFC 3986 wants them percent-encoded).
HTTP_PATTERN = r"https?://[!#-;=?-\[\]_a-z~]+"
URL_PATTERN = rf"(?:{HTTP_PATTERN}|s3://[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9]/[!$-;=@-\[\]_a-z~]+)"
_HTTP = re.compile(HTTP_PATTERN, re.IGNORECASE)
_URL = re.compile(URL_PATTERN, re.IGNORECASE)


def is_http_url(value: object) -> bool:
    """True for an absolute http or https URL with a host, at most MAX_URL_LENGTH long, nothing in it left unencoded."""
    return is_package_url(value) and _HTTP.fullmatch(str(value)) is not None


def is_package_url(value: object) -> bool:
    """As `is_http_url`; or `s3://bucket/key`, whose host the workers' RELEASE_SOURCES_FILE says."""
    if not isinstance(value, str) or len(value) > MAX_URL_LENGTH or _URL.fullmatch(value) is None:
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
