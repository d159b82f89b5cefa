"""The words, shapes and tones for everything that is a state, in the reader's language."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


@dataclass(frozen=True, kw_only=True)
class Look:
    """tone: ok, fail, run, warn or idle. icon: a symbol of the sprite."""

    word: str | Promise
    icon: str
    tone: str = "idle"


OPERATION: dict[str, Look] = {
    "pending": Look(word=_("Waiting"), icon="clock"),
    "in_progress": Look(word=_("In progress"), icon="spinner", tone="run"),
    "stopping": Look(word=_("Stopping"), icon="hand", tone="warn"),
    "completed": Look(word=_("Completed"), icon="check", tone="ok"),
    "failed": Look(word=_("Failed"), icon="x", tone="fail"),
    "cancelled": Look(word=_("Cancelled"), icon="ban"),
}
TARGET: dict[str, Look] = {**OPERATION, "superseded": Look(word=_("Superseded"), icon="skip", tone="warn")}
RUN: dict[str, Look] = {
    "running": Look(word=pgettext_lazy("run status", "Running"), icon="play", tone="ok"),
    "deploying": Look(word=_("Deploying"), icon="spinner", tone="run"),
    "rolling_back": Look(word=_("Rolling back"), icon="undo", tone="warn"),
    "failed": Look(word=_("Failed"), icon="x", tone="fail"),
    "stopped": Look(word=_("Stopped"), icon="stop", tone="warn"),
    "unknown": Look(word=_("Unknown"), icon="question"),
}
HEALTH: dict[str, Look] = {
    "healthy": Look(word=_("Healthy"), icon="heart", tone="ok"),
    "unhealthy": Look(word=_("Unhealthy"), icon="alert", tone="fail"),
    "unknown": Look(word=_("Not reported"), icon="question"),
}
SOURCE: dict[str, Look] = {
    "node": Look(word=_("On the node"), icon="server", tone="ok"),
    "store": Look(word=_("Package store"), icon="box", tone="run"),
    "download": Look(word=_("Download"), icon="cloud", tone="warn"),
    "nowhere": Look(word=_("Nowhere"), icon="x", tone="fail"),
}
KIND: dict[str, Look] = {
    "deploy": Look(word=_("Deploy"), icon="rocket"),
    "rollback": Look(word=_("Rollback"), icon="undo"),
}
ACTOR: dict[str, Look] = {
    "person": Look(word=_("Person"), icon="user"),
    "token": Look(word=_("Scheduler"), icon="key"),
    "node": Look(word=_("Node"), icon="server"),
    "system": Look(word=_("System"), icon="settings"),
}
LOOKS = {
    "operation": OPERATION,
    "target": TARGET,
    "run": RUN,
    "health": HEALTH,
    "source": SOURCE,
    "kind": KIND,
    "actor": ACTOR,
}
STEPS: dict[str, str | Promise] = {
    "queued": _("Wait"),
    "fetch": _("Download"),
    "connect": _("Connect"),
    "stage": _("Stage"),
    "before_switch": _("Prepare"),
    "switch": _("Switch"),
    "restart": _("Restart"),
    "revert": _("Put back"),
    "clean_up": _("Clean up"),
    "done": _("Done"),
}


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What an error code means, and what the reader does next."""

    title: str | Promise
    next_action: str | Promise


ERRORS: dict[str, Advice] = {
    "package_host_not_allowed": Advice(
        title=_("Packages may not come from this host"),
        next_action=_(
            "Ask an admin to add the host to RELEASE_PACKAGE_HOSTS, or use a package URL on an allowed host."
        ),
    ),
    "package_unreachable": Advice(
        title=_("The package could not be downloaded"),
        next_action=_("Check that the package URL answers, then retry the failed instances."),
    ),
    "package_checksum_mismatch": Advice(
        title=_("The package is not the one that was asked for"),
        next_action=_("Compare the SHA-256 with the build's, and deploy again with the right one."),
    ),
    "package_signature_invalid": Advice(
        title=_("The package is not signed by the service’s key"),
        next_action=_("Sign this very package with that key, and deploy again. If you did: somebody changed it."),
    ),
    "package_digest_conflict": Advice(
        title=_("This version is known with other content"),
        next_action=_("Release the new content under a new version."),
    ),
    "package_too_large": Advice(
        title=_("The package is larger than allowed"),
        next_action=_("Make it smaller, or ask an admin to raise RELEASE_PACKAGE_MAX_BYTES."),
    ),
    "package_invalid": Advice(
        title=_("The package is not a whole archive"),
        next_action=_("Build it again as tar.gz, tar.xz, tar.bz2, tar or zip, and deploy that."),
    ),
    "package_unsafe": Advice(
        title=_("The package would write outside its release"),
        next_action=_("Build it without absolute paths, “..” and links that lead out."),
    ),
    "node_unreachable": Advice(
        title=_("The node does not answer"),
        next_action=_("Test the node's connection in the admin, then retry the failed instances."),
    ),
    "node_host_key_mismatch": Advice(
        title=_("The node shows another host key than the one on record"),
        next_action=_("Find out why it changed; only then accept the new key in the admin and retry."),
    ),
    "node_disk_full": Advice(
        title=_("The node's disk is full"),
        next_action=_("Free space on the node, then retry. The old version keeps running."),
    ),
    "command_failed": Advice(
        title=_("The service's command failed"),
        next_action=_("Read its output in the log, mend the release or the command, then retry or roll back."),
    ),
    "command_timeout": Advice(
        title=_("The service's command took too long"),
        next_action=_("Read its output in the log; raise the command timeout if it needs longer, then retry."),
    ),
    "switch_failed": Advice(
        title=_("The node could not switch to the release"),
        next_action=_("Check the deploy root on the node (owner, rights, space), then retry."),
    ),
    "worker_lost": Advice(
        title=_("The worker was lost again and again"),
        next_action=_("Check the workers' logs and memory, then retry."),
    ),
    "internal_error": Advice(
        title=_("Something went wrong in the release system itself"),
        next_action=_("Retry; if it happens again, give an admin this operation's id and its log."),
    ),
}
UNKNOWN_ERROR = Advice(title=_("It failed"), next_action=_("Read the log, then retry or roll back."))


def look(family: str, value: str) -> Look:
    """Never fails: a word that is not known yet is shown as it is."""
    return LOOKS[family].get(value) or Look(word=value, icon="question")


def advice(code: str) -> Advice:
    return ERRORS.get(code, UNKNOWN_ERROR)


def step_word(step: str) -> str | Promise:
    return STEPS.get(step, step)
