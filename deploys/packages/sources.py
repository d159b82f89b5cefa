"""RELEASE_SOURCES_FILE: credentials and certificate authorities by package host (CONTRACT.md, "Package sources").

    packages.example.com:
      basic: {user: release, password: …}
    artifactory.example.com:8443:
      header: {name: X-JFrog-Art-Api, value: …}
      ca_file: /etc/release/company-ca.pem
    s3.eu-west-1.amazonaws.com:
      s3: {region: eu-west-1, access_key: …, secret_key: …}

Each entry has one of basic, bearer, header and s3 at the most, and ca_file, which is then the only authority for that host.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import requests
import yaml
from requests.auth import AuthBase, HTTPBasicAuth
from requests_aws4auth import AWS4Auth

from deploys.error_codes import ErrorCode
from deploys.packages.errors import PackageError
from deploys.packages.hosts import DEFAULT_PORTS, HostRule, bracketed
from inventory.security.redaction import SHORTEST_SECRET, redact_url, register_secret
from inventory.told import Told
from inventory.told import marked as _

logger = logging.getLogger(__name__)

SETTING = "RELEASE_SOURCES_FILE"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
# Those are the download's own to say.
_OURS = frozenset({"host", "range", "if-range", "accept-encoding", "content-length", "connection", "transfer-encoding"})
_KEYS = {
    "basic": {"user", "password"},
    "header": {"name", "value"},
    "s3": {"region", "access_key", "secret_key"},
}
_SECRET = {"password", "value", "secret_key"}
_NO_S3 = _("no entry has `s3`")
_SEVERAL = _("several entries have `s3`, so that it is not clear which is meant")
_MOST_BYTES = 1024 * 1024


class SourcesError(ValueError):
    """One line that names the file and the entry, and no value."""


class HeaderAuth(AuthBase):
    def __init__(self, name: str, value: str) -> None:
        self._name, self._value = name, value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[self._name] = self._value
        return request


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is known of one host. secrets: all that must never be read anywhere."""

    rule: HostRule
    auth: AuthBase | None = field(default=None, repr=False)
    is_s3: bool = False
    ca_file: str = ""
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Sources:
    entries: tuple[Source, ...] = ()

    def of(self, url: str) -> Source | None:
        """Of the host at the port that this URL names; of https alone."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            return None
        port = parts.port or DEFAULT_PORTS["https"]
        return next((each for each in self.entries if each.rule.allows("https", parts.hostname, port)), None)

    def resolved(self, url: str) -> str:
        """`s3://bucket/key` as the https URL of the one s3 entry; any other as it is. Raises PackageError."""
        parts = urlsplit(url)
        if parts.scheme != "s3":
            return url
        homes = [each.rule for each in self.entries if each.is_s3]
        if len(homes) != 1:
            raise PackageError(
                ErrorCode.PACKAGE_HOST_NOT_ALLOWED,
                Told(
                    _("The package at %(url)s can't be looked for: in RELEASE_SOURCES_FILE %(how)s."),
                    {"url": redact_url(url), "how": Told(_SEVERAL if homes else _NO_S3)},
                ),
                Told(_("Have an admin see to that file on every worker host, or give the package's https URL.")),
            )
        (home,) = homes
        host = bracketed(home.host) + (f":{home.port}" if home.port else "")
        return f"https://{host}/{parts.netloc}{quote(unquote(parts.path), safe='/-_.~')}"


NONE = Sources()
_lock = threading.Lock()
_read: tuple[object, Sources] = (None, NONE)


def current(path: str) -> Sources:
    """As the file is now; `NONE` without one. A file that has gone bad is told in the log, and the last good one used."""
    global _read
    if not path:
        return NONE
    with _lock:
        version = _version(path)
        if _read[0] != version:
            try:
                _read = version, read(path)
            except SourcesError as error:
                logger.error("%s; what it said before is still used", error)
                _read = version, _read[1]
        return _read[1]


def _version(path: str) -> object:
    try:
        seen = Path(path).stat()
    except OSError as error:
        return path, error.errno
    return path, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size, seen.st_ino


def read(path: str) -> Sources:
    """Everything secret in it is masked from here on. Raises SourcesError."""
    try:
        given = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise _fault(path, f"it is no YAML{where}") from None
    if given is None:
        return NONE
    if not isinstance(given, dict):
        raise _fault(path, "it must have an entry for each host: `packages.example.com: {bearer: …}`")
    entries = tuple(_entry(path, host, entry) for host, entry in given.items())
    rules = [(each.rule.host, each.rule.port or DEFAULT_PORTS["https"]) for each in entries]
    for place, rule in enumerate(rules):
        if rule in rules[:place]:
            raise _fault(path, f"there are two entries for {rule[0]}:{rule[1]}")
    for each in entries:
        for secret in each.secrets:
            register_secret(secret)
    return Sources(entries=entries)


def _text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _fault(path, f"it cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise _fault(
            path, f"its mode is {stat.S_IMODE(mode):04o}: make it 0600, readable by the workers' account alone"
        )
    if len(text) > _MOST_BYTES:
        raise _fault(path, "it is larger than 1 MiB")
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise _fault(path, "it is not UTF-8 text") from None


def _fault(path: str, what: str) -> SourcesError:
    return SourcesError(f"{SETTING} names {path}: {what}")


def _entry(path: str, host: object, given: object) -> Source:
    def fault(what: str) -> SourcesError:
        return _fault(path, f"entry '{host}': {what}")

    try:
        rule = HostRule.parse(str(host))
    except ValueError:
        raise fault("write host or host:port, without scheme or path") from None
    if not isinstance(given, dict) or not given.keys() <= {*_KEYS, "bearer", "ca_file"}:
        raise fault("it takes basic, bearer, header, s3 and ca_file")
    kinds = [kind for kind in ("basic", "bearer", "header", "s3") if kind in given]
    if len(kinds) > 1:
        raise fault(f"{' and '.join(kinds)}: it can have one of these")
    try:
        auth, secrets = _auth(kinds[0], given[kinds[0]]) if kinds else (None, ())
        ca_file = _ca_file(given.get("ca_file", ""))
    except ValueError as error:
        raise fault(str(error)) from None
    return Source(rule=rule, auth=auth, is_s3=kinds == ["s3"], ca_file=ca_file, secrets=secrets)


def _auth(kind: str, given: Any) -> tuple[AuthBase, tuple[str, ...]]:
    """Raises ValueError, which says what is wrong with it."""
    if kind == "bearer":
        token = _word("bearer", given, is_secret=True)
        return HeaderAuth("Authorization", f"Bearer {token}"), (token,)
    if not isinstance(given, dict) or given.keys() != _KEYS[kind]:
        raise ValueError(f"{kind} needs {', '.join(sorted(_KEYS[kind]))}, and nothing else")
    words = {name: _word(f"{kind}.{name}", value, is_secret=name in _SECRET) for name, value in given.items()}
    secrets = tuple(value for name, value in words.items() if name in _SECRET)
    match kind:
        case "basic":
            if ":" in words["user"]:
                raise ValueError("basic.user can't hold a colon")
            user, password = words["user"].encode(), words["password"].encode()
            return HTTPBasicAuth(user, password), (*secrets, f"{words['user']}:{words['password']}")
        case "header":
            if not _HEADER_NAME.fullmatch(words["name"]) or words["name"].lower() in _OURS:
                raise ValueError("header.name is no header that can be set")
            return HeaderAuth(words["name"], words["value"]), secrets
    return AWS4Auth(words["access_key"], words["secret_key"], words["region"], "s3"), secrets


def _word(name: str, value: object, *, is_secret: bool) -> str:
    if not isinstance(value, str) or not value or not value.isprintable() or value != value.strip():
        raise ValueError(f"{name} must be text on one line (quote what looks like a number)")
    if is_secret and len(value) < SHORTEST_SECRET:
        raise ValueError(f"{name} has less than {SHORTEST_SECRET} characters, too few to be masked")
    if not is_secret and not value.isascii():
        raise ValueError(f"{name} must be ASCII")
    return value


def _ca_file(given: object) -> str:
    if given == "":
        return ""
    if not isinstance(given, str) or not Path(given).is_absolute():
        raise ValueError("ca_file must be an absolute path")
    try:
        ssl.create_default_context(cafile=given)
    except (OSError, ssl.SSLError) as error:
        why = getattr(error, "strerror", None) or "no certificate in it"
        raise ValueError(f"ca_file {given} cannot be used ({why})") from None
    return given


def is_signed_link(url: str) -> bool:
    """It brings its own credentials: userinfo, or the query of a link that S3 has signed."""
    parts: Any = urlsplit(url)
    return parts.username is not None or "x-amz-signature=" in parts.query.lower()
