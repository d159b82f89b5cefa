"""What exists: services, nodes, instances, and every change of what they run."""

from __future__ import annotations

from typing import Self, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Func, Q, Value
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from inventory.actors import ActorKind
from inventory.drift import Drift
from inventory.names import validate_name
from inventory.signing_keys import validate_signing_key
from inventory.validation import (
    misplaced_jump,
    missing_ssh_fields,
    validate_command,
    validate_deploy_root,
    validate_host,
    validate_host_key,
    validate_jump_socket,
    validate_ssh_user,
    without_comment,
)

RowT = TypeVar("RowT", bound=models.Model)


class RunStatus(models.TextChoices):
    """`deploying` and `rolling_back` are never stored: queries derive them from unfinished operations."""

    RUNNING = "running", pgettext_lazy("run status", "Running")
    DEPLOYING = "deploying", _("Deploying")
    ROLLING_BACK = "rolling_back", _("Rolling back")
    FAILED = "failed", _("Failed")
    STOPPED = "stopped", _("Stopped")
    UNKNOWN = "unknown", _("Unknown")


STORED_RUN_STATUSES = (RunStatus.RUNNING, RunStatus.FAILED, RunStatus.STOPPED, RunStatus.UNKNOWN)


class Health(models.TextChoices):
    HEALTHY = "healthy", _("Healthy")
    UNHEALTHY = "unhealthy", _("Unhealthy")
    UNKNOWN = "unknown", _("Not reported")


class TransportKind(models.TextChoices):
    SSH = "ssh", "SSH"
    LOCAL = "local", _("this machine")


class Delivery(models.TextChoices):
    """How a node gets a package that is not on it yet."""

    PUSH = "push", _("push: a worker sends it")
    PULL = "pull", _("pull: the node fetches it")


class ZipNames(models.TextChoices):
    """What a zip's names are in where they are not UTF-8: values are what Python calls the encoding."""

    UTF8 = "utf-8", _("UTF-8 only")
    GBK = "gbk", _("UTF-8, or else GBK (zips made by Windows in Chinese)")


def natural_key(field: str) -> Func:
    """Every run of digits padded to 20 places, so that text order puts instance-2 before instance-10."""
    padded = Func(F(field), Value(r"(\d+)"), Value("0" * 20 + r"\1"), Value("g"), function="regexp_replace")
    return Func(padded, Value(r"\d*(\d{20})"), Value(r"\1"), Value("g"), function="regexp_replace")


class Retirable(models.QuerySet[RowT]):
    """Of nodes and instances. A retired one has its history still; it is no longer listed or chosen, and keeps its name."""

    def listed(self) -> Self:
        return self.filter(retired_at=None)


class Service(models.Model):
    name = models.CharField(_("name"), max_length=100, unique=True, validators=[validate_name])
    restart_command = models.TextField(_("restart command"), blank=True, default="", validators=[validate_command])
    before_switch_command = models.TextField(
        _("before switch command"), blank=True, default="", validators=[validate_command]
    )
    command_timeout = models.PositiveIntegerField(
        _("command timeout"),
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        help_text=_("Seconds, for each command."),
    )
    version_command = models.TextField(
        _("version command"),
        blank=True,
        default="",
        db_default="",
        validators=[validate_command],
        help_text=_(
            "Prints, on its first line, which version runs: it asks the process itself, not the link. After a restart it runs "
            "every half second until that is the new version; otherwise the release before comes back. It runs at each sync too."
        ),
    )
    version_timeout = models.PositiveIntegerField(
        _("version timeout"),
        default=30,
        db_default=30,
        validators=[MinValueValidator(1), MaxValueValidator(3600)],
        help_text=_("Seconds after the restart within which the version command has to print the new version."),
    )
    keep_releases = models.PositiveIntegerField(
        _("keep releases"), default=5, validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )
    staged_days = models.PositiveIntegerField(
        _("days that a staged release is kept"),
        default=7,
        db_default=7,
        validators=[MinValueValidator(1), MaxValueValidator(365)],
        help_text=_("Of a release that was only staged, until it is deployed."),
    )
    mutable_versions = models.BooleanField(_("mutable versions"), default=False)
    require_sha256 = models.BooleanField(
        _("require SHA-256"),
        default=False,
        db_default=False,
        help_text=_("Refuse a deploy that does not give the digest of its package."),
    )
    signing_key = models.TextField(
        _("signing key"),
        blank=True,
        default="",
        db_default="",
        validators=[validate_signing_key],
        help_text=_(
            "An Ed25519 public key. Only packages that it has signed are taken; the signature comes with the request, "
            "or lies beside the package as “.sig”."
        ),
    )
    zip_names = models.CharField(
        _("zip names"),
        max_length=16,
        choices=ZipNames,
        default=ZipNames.UTF8,
        db_default=ZipNames.UTF8.value,
        help_text=_(
            "Of zip packages only. A name that is not UTF-8, and that the zip does not give in UTF-8 besides, is read as "
            "this says; with “UTF-8 only” the package is refused."
        ),
    )
    sync_enabled = models.BooleanField(_("sync enabled"), default=True)
    synced_at = models.DateTimeField(_("synced at"), null=True, blank=True, editable=False)
    sync_queued_at = models.DateTimeField(_("sync queued at"), null=True, blank=True, editable=False)
    sync_started_at = models.DateTimeField(_("sync started at"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    # One of its instances was made another service's: a trigger keeps it.
    has_lost_instances = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        verbose_name = _("service")
        verbose_name_plural = _("services")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class JumpHost(models.Model):
    """An SSH server between workers and nodes, which passes connections on and sees only what is encrypted.

    jump: another one, through which this one is reached; never itself at the end (`editing.rules`).
    """

    name = models.CharField(_("name"), max_length=100, unique=True, validators=[validate_name])
    host = models.CharField(_("host"), max_length=253, validators=[validate_host])
    ssh_user = models.CharField(_("SSH user"), max_length=64, validators=[validate_ssh_user])
    ssh_port = models.PositiveIntegerField(
        _("SSH port"), default=22, validators=[MinValueValidator(1), MaxValueValidator(65_535)]
    )
    ssh_host_key = models.TextField(_("SSH host key"), validators=[validate_host_key])
    jump = models.ForeignKey(
        "self",
        verbose_name=_("jump host"),
        on_delete=models.PROTECT,
        related_name="behind",
        null=True,
        blank=True,
        help_text=_("The one through which this one is reached, if any."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("jump host")
        verbose_name_plural = _("jump hosts")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """The host key takes its normal form."""
        self.ssh_host_key = without_comment(self.ssh_host_key)


class Node(models.Model):
    name = models.CharField(_("name"), max_length=100, unique=True, validators=[validate_name])
    host = models.CharField(_("host"), max_length=253, validators=[validate_host])
    transport = models.CharField(_("transport"), max_length=8, choices=TransportKind, default=TransportKind.SSH)
    ssh_user = models.CharField(_("SSH user"), max_length=64, blank=True, default="", validators=[validate_ssh_user])
    ssh_port = models.PositiveIntegerField(
        _("SSH port"), default=22, validators=[MinValueValidator(1), MaxValueValidator(65_535)]
    )
    ssh_host_key = models.TextField(_("SSH host key"), blank=True, default="", validators=[validate_host_key])
    delivery = models.CharField(
        _("delivery"),
        max_length=4,
        choices=Delivery,
        default=Delivery.PUSH,
        db_default=Delivery.PUSH.value,
        help_text=_("To fetch packages from this system's web, a node needs curl or wget."),
    )
    jump = models.ForeignKey(
        JumpHost,
        verbose_name=_("jump host"),
        on_delete=models.PROTECT,
        related_name="nodes",
        null=True,
        blank=True,
        help_text=_("The one through which the node is reached, if any."),
    )
    jump_socket = models.CharField(
        _("socket on the jump host"),
        max_length=107,
        blank=True,
        default="",
        db_default="",
        validators=[validate_jump_socket],
        help_text=_("For a node that dials out (`ssh -R`): the Unix socket on the jump host where it is reached."),
    )
    seen_at = models.DateTimeField(_("last reached"), null=True, blank=True, editable=False)
    retired_at = models.DateTimeField(_("retired at"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = Retirable["Node"].as_manager()

    class Meta:
        verbose_name = _("node")
        verbose_name_plural = _("nodes")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """The rules that span fields; the host key takes its normal form."""
        self.ssh_host_key = without_comment(self.ssh_host_key)
        faults = missing_ssh_fields(transport=self.transport, ssh_user=self.ssh_user, ssh_host_key=self.ssh_host_key)
        faults |= misplaced_jump(transport=self.transport, has_jump=self.jump is not None, socket=self.jump_socket)
        if faults:
            raise ValidationError(faults)


class Instance(models.Model):
    """One copy of a service at one place on one node.

    running_release is the folder's name under releases/; a version's folder bears the version's name, or
    `<version>@<digest>` for further bytes of a mutable version. '' means that nothing is known to run.
    release_history is the stack of releases that were switched to successfully, oldest first: a deploy pushes, a
    rollback pops back to its target.
    process_version: what the service's version command said last; '' without one, when it printed nothing, and when what
    runs may have changed since.
    found_*: what another tool had put there before our first switch: the release that ran, which is the first of the
    history; or where `current` led, when that was no release.
    reported_*: the last word of the node itself, kept also when an operation in progress has the say on what runs.
    shown_xid: of the transaction that last changed what an operation's status shows of it; a trigger keeps it.
    """

    instance_id = models.CharField(_("instance id"), max_length=100, unique=True, validators=[validate_name])
    natural_key = models.GeneratedField(
        expression=natural_key("instance_id"),
        output_field=models.TextField(db_collation="C"),
        db_persist=True,
    )
    service = models.ForeignKey(Service, verbose_name=_("service"), on_delete=models.PROTECT, related_name="instances")
    node = models.ForeignKey(Node, verbose_name=_("node"), on_delete=models.PROTECT, related_name="instances")
    port = models.PositiveIntegerField(_("port"), validators=[MinValueValidator(1), MaxValueValidator(65_535)])
    deploy_root = models.CharField(_("deploy root"), max_length=1000, validators=[validate_deploy_root])

    running_version = models.CharField(_("running version"), max_length=100, blank=True, default="", editable=False)
    running_release = models.CharField(_("running release"), max_length=120, blank=True, default="", editable=False)
    running_sha256 = models.CharField(_("running SHA-256"), max_length=64, blank=True, default="", editable=False)
    expected_version = models.CharField(_("expected version"), max_length=100, blank=True, default="", editable=False)
    process_version = models.CharField(
        _("version that the process names"), max_length=100, blank=True, default="", db_default="", editable=False
    )
    release_history = ArrayField(
        models.CharField(max_length=120), verbose_name=_("release history"), default=list, blank=True, editable=False
    )
    found_release = models.CharField(
        _("release found there"), max_length=120, blank=True, default="", db_default="", editable=False
    )
    found_current = models.TextField(_("link found there"), blank=True, default="", db_default="", editable=False)
    run_status = models.CharField(
        _("run status"), max_length=12, choices=RunStatus, default=RunStatus.UNKNOWN, editable=False
    )
    health = models.CharField(_("health"), max_length=12, choices=Health, default=Health.UNKNOWN, editable=False)
    health_at = models.DateTimeField(_("health at"), null=True, blank=True, editable=False)
    reported_version = models.CharField(_("reported version"), max_length=100, blank=True, default="", editable=False)
    reported_status = models.CharField(_("reported status"), max_length=12, blank=True, default="", editable=False)
    reported_at = models.DateTimeField(_("reported at"), null=True, blank=True, editable=False)
    changed_at = models.DateTimeField(_("changed at"), default=timezone.now, editable=False)
    retired_at = models.DateTimeField(_("retired at"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    shown_xid = models.BigIntegerField(default=0, db_default=0, editable=False)

    objects = Retirable["Instance"].as_manager()

    class Meta:
        verbose_name = _("instance")
        verbose_name_plural = _("instances")
        ordering = ("natural_key",)
        indexes = (
            models.Index(fields=("service", "natural_key"), name="instance_service_natural"),
            models.Index(fields=("service", "running_version"), name="instance_service_version"),
            models.Index(fields=("service", "shown_xid"), name="instance_service_shown_xid"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("node", "deploy_root"),
                condition=Q(retired_at=None),
                name="instance_one_per_deploy_root",
                violation_error_message=_("Another instance has this deploy root on this node."),
            ),
            models.CheckConstraint(
                condition=Q(run_status__in=[status.value for status in STORED_RUN_STATUSES]),
                name="instance_run_status_is_storable",
            ),
        )

    def __str__(self) -> str:
        return self.instance_id

    @property
    def drift(self) -> Drift | None:
        return Drift.of(running=self.running_version, expected=self.expected_version, process=self.process_version)


class Survey(models.Model):
    """What the last sync saw in an instance's deploy root; no row: it has not been read yet. Written by `adoption.keep`.

    release, sha256, problem and elsewhere: what `current` leads to, as `nodes.state.Reading` has them. theirs: names under
    releases/ that another tool has put there, the first fifty. stuck: [path, kilobytes] of what we could not remove.
    """

    instance = models.OneToOneField(
        Instance, verbose_name=_("instance"), on_delete=models.CASCADE, primary_key=True, related_name="survey"
    )
    at = models.DateTimeField(_("time"), default=timezone.now)
    release = models.CharField(_("release"), max_length=255, blank=True, default="")
    sha256 = models.CharField(_("SHA-256"), max_length=64, blank=True, default="")
    problem = models.TextField(_("problem"), blank=True, default="")
    elsewhere = models.TextField(_("elsewhere"), blank=True, default="")
    theirs = ArrayField(models.TextField(), verbose_name=_("releases of another tool"), default=list, blank=True)
    stuck = models.JSONField(_("what could not be removed"), default=list, blank=True)

    class Meta:
        verbose_name = _("survey")
        verbose_name_plural = _("surveys")

    def __str__(self) -> str:
        return str(self.instance_id)


class StatusChange(models.Model):
    """One change of one field of an instance, or of an operation's target on it. Append-only.

    The rows of one (instance, field, operation_id for `target`) form a chain: each `old` is the `new` before it.
    operation_id is `deploys.Operation`'s primary key: a plain number, because inventory knows no other app.
    """

    class Field(models.TextChoices):
        TARGET = "target", _("target")
        VERSION = "version", _("version")
        PROCESS = "process", _("process version")
        RUN_STATUS = "run_status", _("run status")
        HEALTH = "health", _("health")

    instance = models.ForeignKey(
        Instance, verbose_name=_("instance"), on_delete=models.CASCADE, related_name="status_changes"
    )
    field = models.CharField(_("field"), max_length=12, choices=Field)
    old = models.CharField(_("before"), max_length=120, blank=True)
    new = models.CharField(_("after"), max_length=120, blank=True)
    at = models.DateTimeField(_("time"), default=timezone.now)
    operation_id = models.BigIntegerField(_("operation key"), null=True, blank=True)
    operation_name = models.CharField(_("operation"), max_length=220, blank=True, default="")
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    actor_kind = models.CharField(_("kind of actor"), max_length=8, choices=ActorKind)
    actor_name = models.CharField(_("actor"), max_length=200)
    note = models.TextField(_("note"), blank=True, default="")

    class Meta:
        verbose_name = _("status change")
        verbose_name_plural = _("status changes")
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("instance", "-id"), name="statuschange_instance_newest"),
            models.Index(fields=("operation_id", "id"), name="statuschange_operation"),
        )

    def __str__(self) -> str:
        return f"{self.field}: {self.old} → {self.new}"


class AuditEntry(models.Model):
    """Who did what to what, from where. Written by `inventory.security.audit.record` alone; append-only by trigger.

    A trigger fills id (no gaps), at, prev_hash and hash: each entry's hash covers its content and the hash before it.
    object_id and service are words, not references: an entry outlives what it tells of.
    """

    at = models.DateTimeField(_("time"), default=timezone.now)
    actor_kind = models.CharField(_("kind of actor"), max_length=8, choices=ActorKind)
    actor_name = models.CharField(_("actor"), max_length=200)
    actor_address = models.CharField(_("address"), max_length=45, blank=True, default="")
    action = models.CharField(_("action"), max_length=60)
    object_kind = models.CharField(_("kind of object"), max_length=40, blank=True, default="")
    object_id = models.CharField(_("object"), max_length=220, blank=True, default="")
    service = models.CharField(_("service"), max_length=100, blank=True, default="")
    detail = models.JSONField(_("detail"), default=dict, blank=True)
    prev_hash = models.CharField(_("previous hash"), max_length=64, unique=True, editable=False)
    hash = models.CharField(_("hash"), max_length=64, editable=False)

    class Meta:
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit entries")
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("service", "-id"), name="auditentry_service_newest"),
            models.Index(fields=("object_kind", "object_id", "-id"), name="auditentry_object_newest"),
            models.Index(fields=("action", "-id"), name="auditentry_action_newest"),
            models.Index(fields=("actor_name", "-id"), name="auditentry_actor_newest"),
        )

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.object_id}".strip()


class Tally(models.Model):
    """What has been counted under a key, by all processes together (`inventory.database.tallies`). The table is UNLOGGED."""

    key = models.CharField(_("key"), max_length=300, primary_key=True)
    value = models.FloatField(_("value"))

    class Meta:
        verbose_name = _("tally")
        verbose_name_plural = _("tallies")

    def __str__(self) -> str:
        return self.key
