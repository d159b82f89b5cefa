"""What a value of the inventory may look like. The models carry these rules, so that forms and YAML share them."""

from __future__ import annotations

import ipaddress
import posixpath
import re

import asyncssh
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

# As in OpenSSH's known_hosts.
CERT_AUTHORITY = "@cert-authority"
MAX_COMMAND_CHARS = 16_384
# A name of more bytes than this does not fit a directory entry.
_MAX_PATH_PART_BYTES = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_HOST_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
# No colon, which `ssh -R` takes for a separator, and nothing that sh, systemd or sshd_config read as their own.
_SOCKET = re.compile(r"(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+")
# What a Unix socket's address has room for.
_MAX_SOCKET_BYTES = 107
_SSH_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,62}\$?")


def is_storable(value: str) -> bool:
    """PostgreSQL's text takes neither NUL nor half a surrogate pair."""
    return _UNSTORABLE.search(value) is None


def validate_storable(value: str) -> None:
    if not is_storable(value):
        raise ValidationError(_("must not contain NUL or invalid characters"), code="invalid_text")


def validate_command(value: str) -> None:
    """Shell text; it travels as one argument, and Linux takes 128 KiB in one."""
    validate_storable(value)
    if len(value) > MAX_COMMAND_CHARS:
        raise ValidationError(
            _("is longer than %(limit)d characters; put it into a script in the package"),
            code="too_long",
            params={"limit": MAX_COMMAND_CHARS},
        )


def validate_host(value: str) -> None:
    """An IP address or a host name, without port, user or scheme."""
    if not (_is_address(value) or _is_host_name(value)):
        raise ValidationError(
            _("%(value)r is not a host: write an IP address or a host name, without port, user or scheme"),
            code="invalid_host",
            params={"value": value},
        )


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return "%" not in value


def _is_host_name(value: str) -> bool:
    # 1.2.3 and 0x7f.1 are addresses to some resolvers: a name's last label must not be a number.
    labels = value.removesuffix(".").split(".")
    return (
        len(value) <= 253
        and all(_HOST_LABEL.fullmatch(label) for label in labels)
        and not re.fullmatch(r"[0-9]+|0[xX][0-9A-Fa-f]*", labels[-1])
    )


def validate_jump_socket(value: str) -> None:
    """The absolute path of a Unix socket, in its normal form."""
    if len(value) > _MAX_SOCKET_BYTES or _SOCKET.fullmatch(value) is None:
        raise ValidationError(
            _("%(value)r is not the path of a socket: absolute, up to 107 letters, digits and . _ + - /"),
            code="invalid_jump_socket",
            params={"value": value},
        )


def validate_ssh_user(value: str) -> None:
    if _SSH_USER.fullmatch(value) is None:
        raise ValidationError(_("%(value)r is not a login name"), code="invalid_ssh_user", params={"value": value})


def validate_host_key(value: str) -> None:
    """One public key in OpenSSH's one-line format; a known_hosts line, which begins with the host, is none.

    Behind `@cert-authority` it is the key that signs the certificates of servers.
    """
    if len(value.strip().splitlines()) == 1 and _parses_as_public_key(_without_mark(without_comment(value))):
        return
    raise ValidationError(
        _(
            "is not a public key: write one line as in the node's /etc/ssh/ssh_host_ed25519_key.pub, "
            "such as “ssh-ed25519 AAAA…”, without the host in front; or “@cert-authority ssh-ed25519 AAAA…”"
        ),
        code="invalid_host_key",
    )


def without_comment(host_key: str) -> str:
    """`[@cert-authority ]algorithm base64`, the normal form in which valid host keys are kept and compared."""
    parts = host_key.split()
    return " ".join(parts[: 3 if parts[:1] == [CERT_AUTHORITY] else 2])


def is_authority(host_key: str) -> bool:
    return host_key.startswith(f"{CERT_AUTHORITY} ")


def _without_mark(host_key: str) -> str:
    return host_key.removeprefix(f"{CERT_AUTHORITY} ")


def _parses_as_public_key(line: str) -> bool:
    try:
        key = asyncssh.import_public_key(line)
    except (asyncssh.KeyImportError, ValueError):
        return False
    return key.export_public_key("openssh").decode().split()[:2] == line.split()


def host_key_fingerprint(host_key: str) -> str:
    """`SHA256:…`, as ssh-keygen -l shows it, `CA SHA256:…` for an authority's; '' for no key."""
    if not host_key:
        return ""
    fingerprint: str = asyncssh.import_public_key(_without_mark(host_key)).get_fingerprint()
    return f"CA {fingerprint}" if is_authority(host_key) else fingerprint


def validate_deploy_root(value: str) -> None:
    """An absolute path in its normal form that can be a directory of its own."""
    if _CONTROL.search(value) or _UNSTORABLE.search(value):
        raise ValidationError(_("must not contain control characters"), code="invalid_deploy_root")
    if not value.startswith("/"):
        raise ValidationError(_("must be an absolute path"), code="invalid_deploy_root")
    if ".." in value.split("/"):
        raise ValidationError(_("must not contain “..”"), code="invalid_deploy_root")
    normal = "/" + posixpath.normpath(value).lstrip("/")
    if normal == "/":
        raise ValidationError(_("must not be the root of the file system"), code="invalid_deploy_root")
    if value != normal:
        raise ValidationError(
            _("must be in its normal form: %(normal)s"), code="invalid_deploy_root", params={"normal": normal}
        )
    if any(len(part.encode()) > _MAX_PATH_PART_BYTES for part in value.split("/")):
        raise ValidationError(
            _("has a part longer than %(limit)d bytes"),
            code="invalid_deploy_root",
            params={"limit": _MAX_PATH_PART_BYTES},
        )


def missing_ssh_fields(*, transport: str, ssh_user: str, ssh_host_key: str) -> dict[str, ValidationError]:
    """What an `ssh` node lacks, by field: a host key is never trusted silently, so it must be there beforehand."""
    if transport != "ssh":
        return {}
    given = {"ssh_user": ssh_user, "ssh_host_key": ssh_host_key}
    return {
        # Not the code `required`: a form words that one its own way.
        field: ValidationError(_("is required for a node reached over ssh"), code="required_for_ssh")
        for field, value in given.items()
        if not value
    }


def misplaced_jump(*, transport: str, has_jump: bool, socket: str) -> dict[str, ValidationError]:
    """What of a node's way through a jump host can't be, by field."""
    if transport != "ssh":
        given = {"jump": has_jump, "jump_socket": socket}
        error = ValidationError(_("is for a node reached over ssh alone"), code="not_over_ssh")
        return {field: error for field, value in given.items() if value}
    if socket and not has_jump:
        text = _("is a socket on a jump host: say on which, as the node's jump host")
        return {"jump_socket": ValidationError(text, code="socket_without_jump")}
    return {}
