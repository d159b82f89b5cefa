"""Why a target failed: the codes of CONTRACT.md, "Deploy", each with its title and the advice to whoever reads it.

Beside `deploys.states` because whoever finds out why says it: the rooms of nodes and packages, workers, operations. Free of
Django because the process that reads an archive runs without it (`deploys.packages.repack_process`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self


def _(text: str) -> str:
    """Marks a text for the catalogue; it is translated when it is read."""
    return text


class ErrorCode(StrEnum):
    """label: what has gone wrong. advice: what the reader does next. Both in the reader's language."""

    _texts: tuple[str, str]

    def __new__(cls, code: str, label: str = "", advice: str = "") -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member._texts = (label, advice)
        return member

    @classmethod
    def named(cls, word: str) -> Self | None:
        """None for a word that is no code of this version's."""
        return next((code for code in cls if code == word), None)

    @property
    def label(self) -> str:
        return _translated(self._texts[0])

    @property
    def advice(self) -> str:
        return _translated(self._texts[1])

    PACKAGE_HOST_NOT_ALLOWED = (
        "package_host_not_allowed",
        _("Packages may not come from this host"),
        _("Ask an admin to add the host to RELEASE_PACKAGE_HOSTS, or use a package URL on an allowed host."),
    )
    PACKAGE_UNREACHABLE = (
        "package_unreachable",
        _("The package could not be downloaded"),
        _("Check that the package URL answers, then retry the failed instances."),
    )
    PACKAGE_CHECKSUM_MISMATCH = (
        "package_checksum_mismatch",
        _("The package is not the requested one"),
        _("Compare the SHA-256 with the build's, and deploy again with the right one."),
    )
    PACKAGE_SIGNATURE_INVALID = (
        "package_signature_invalid",
        _("The package is not signed by the service’s key"),
        _("Sign this exact package with that key, and deploy again. If it was signed, it has been changed since."),
    )
    PACKAGE_DIGEST_CONFLICT = (
        "package_digest_conflict",
        _("This version is already known with different content"),
        _("Release the new content under a new version."),
    )
    PACKAGE_TOO_LARGE = (
        "package_too_large",
        _("The package is larger than allowed"),
        _("Do what the message says; an admin can raise RELEASE_PACKAGE_MAX_BYTES, but none of the other limits."),
    )
    PACKAGE_INVALID = (
        "package_invalid",
        _("The package can’t be unpacked"),
        _(
            "The message names what is wrong with it. Build it again as tar.gz, tar.xz, tar.bz2, tar or zip, without that."
        ),
    )
    PACKAGE_UNSAFE = (
        "package_unsafe",
        _("The package would leave its release, or hides something"),
        _("Build it without absolute paths, “..”, links that point outside, devices and invisible characters."),
    )
    NODE_UNREACHABLE = (
        "node_unreachable",
        _("The node does not answer"),
        _("Test the node's connection in the admin, then retry the failed instances."),
    )
    NODE_HOST_KEY_MISMATCH = (
        "node_host_key_mismatch",
        _("The node’s host key differs from the one on record"),
        _("Find out why it changed; only then accept the new key in the admin and retry."),
    )
    JUMP_UNREACHABLE = (
        "jump_unreachable",
        _("A jump host on the way to the node does not answer"),
        _("See that the jump host named is up and lets its user through, then retry the failed instances."),
    )
    JUMP_HOST_KEY_MISMATCH = (
        "jump_host_key_mismatch",
        _("A jump host’s host key differs from the one on record"),
        _("Find out why it changed; only then accept the new key in the admin and retry."),
    )
    NODE_UNSUITABLE = (
        "node_unsuitable",
        _("The node is not set up as required"),
        _("Fix what the message names, or edit the node in the admin; then retry."),
    )
    NODE_DISK_FULL = (
        "node_disk_full",
        _("The node's disk is full"),
        _("Free space on the node, then retry."),
    )
    NODE_NOT_WRITABLE = (
        "node_not_writable",
        _("The deploy root can't be written"),
        _(
            "Give the folder that the message names to the node's SSH user, or mount its file system writable; then retry."
        ),
    )
    RELEASE_EXISTS = (
        "release_exists",
        _("What another tool installed stands in the release’s place"),
        _("Move the folder that the message names away on the node, or deploy the package under another version."),
    )
    COMMAND_FAILED = (
        "command_failed",
        _("The service's command failed"),
        _(
            "Read its output in the log, fix the release or the command, then retry. Where the new version runs all the "
            "same, roll back."
        ),
    )
    COMMAND_TIMEOUT = (
        "command_timeout",
        _("The service's command took too long"),
        _("Read its output in the log; raise the command timeout if it needs longer, then retry."),
    )
    VERSION_MISMATCH = (
        "version_mismatch",
        _("Another version runs after the restart"),
        _(
            "See that the restart command really replaces the running process, and what the version command prints on the "
            "node; raise the version timeout if the service needs longer to start. Then retry."
        ),
    )
    SWITCH_FAILED = (
        "switch_failed",
        _("The node could not switch to the release"),
        _("Check the deploy root on the node (owner, rights, space), then retry."),
    )
    REVERT_FAILED = (
        "revert_failed",
        _("The way back to the previous release failed too"),
        _("What runs is not known: look at the service on the node, then roll back or deploy."),
    )
    NOT_CONFIRMED = (
        "not_confirmed",
        _("It was not confirmed in time"),
        _("Read in the message what runs now. Find out why nobody confirmed it, then deploy again."),
    )
    CANCELLED_IN_SWITCH = (
        "cancelled_in_switch",
        _("Cancelled in the middle of the switch"),
        _("Read in the message what is so now; then retry, roll back or sync the service."),
    )
    WORKER_LOST = (
        "worker_lost",
        _("The worker was lost repeatedly"),
        _("Check the workers' logs and memory, then retry."),
    )
    INTERNAL_ERROR = (
        "internal_error",
        _("The release system itself failed"),
        _("Retry; if it happens again, report this operation's id and its log to an admin."),
    )


def _translated(text: str) -> str:
    from django.utils.translation import gettext

    return gettext(text)
