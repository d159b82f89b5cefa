"""What exists: services, nodes, instances, and every change of what they run."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Func, Q, Value
from django.utils import timezone

from inventory.actors import ActorKind
from inventory.names import validate_name
from inventory.validation import (
    missing_ssh_fields,
    validate_command,
    validate_deploy_root,
    validate_host,
    validate_host_key,
    validate_ssh_user,
    without_comment,
)


class RunStatus(models.TextChoices):
    """`deploying` and `rolling_back` are never stored: queries derive them from unfinished operations."""

    RUNNING = "running"
    DEPLOYING = "deploying"
    ROLLING_BACK = "rolling_back"
    FAILED = "failed"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


STORED_RUN_STATUSES = (RunStatus.RUNNING, RunStatus.FAILED, RunStatus.STOPPED, RunStatus.UNKNOWN)


class Health(models.TextChoices):
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


class TransportKind(models.TextChoices):
    SSH = "ssh"
    LOCAL = "local"


def natural_key(field: str) -> Func:
    """Every run of digits padded to 20 places, so that text order puts instance-2 before instance-10."""
    padded = Func(F(field), Value(r"(\d+)"), Value("0" * 20 + r"\1"), Value("g"), function="regexp_replace")
    return Func(padded, Value(r"\d*(\d{20})"), Value(r"\1"), Value("g"), function="regexp_replace")


class Service(models.Model):
    name = models.CharField(max_length=100, unique=True, validators=[validate_name])
    restart_command = models.TextField(blank=True, default="", validators=[validate_command])
    before_switch_command = models.TextField(blank=True, default="", validators=[validate_command])
    command_timeout = models.PositiveIntegerField(
        default=60, validators=[MinValueValidator(1), MaxValueValidator(86_400)], help_text="Seconds, for each command."
    )
    keep_releases = models.PositiveIntegerField(default=5, validators=[MinValueValidator(1), MaxValueValidator(1000)])
    mutable_versions = models.BooleanField(default=False)
    sync_enabled = models.BooleanField(default=True)
    synced_at = models.DateTimeField(null=True, blank=True, editable=False)
    sync_queued_at = models.DateTimeField(null=True, blank=True, editable=False)
    sync_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Node(models.Model):
    name = models.CharField(max_length=100, unique=True, validators=[validate_name])
    host = models.CharField(max_length=253, validators=[validate_host])
    transport = models.CharField(max_length=8, choices=TransportKind, default=TransportKind.SSH)
    ssh_user = models.CharField(max_length=64, blank=True, default="", validators=[validate_ssh_user])
    ssh_port = models.PositiveIntegerField(default=22, validators=[MinValueValidator(1), MaxValueValidator(65_535)])
    ssh_host_key = models.TextField(blank=True, default="", validators=[validate_host_key])
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """The rules that span fields; the host key takes its normal form."""
        self.ssh_host_key = without_comment(self.ssh_host_key)
        missing = missing_ssh_fields(transport=self.transport, ssh_user=self.ssh_user, ssh_host_key=self.ssh_host_key)
        if missing:
            raise ValidationError(missing)


class Instance(models.Model):
    """One copy of a service at one place on one node.

    running_release is the folder's name under releases/; a version's folder bears the version's name, or
    `<version>@<digest>` for further bytes of a mutable version. '' means that nothing is known to run.
    release_history is the stack of releases that were switched to successfully, oldest first: a deploy pushes, a
    rollback pops back to its target.
    reported_*: the last word of the node itself, kept also when an operation at work has the say on what runs.
    """

    instance_id = models.CharField(max_length=100, unique=True, validators=[validate_name])
    natural_key = models.GeneratedField(
        expression=natural_key("instance_id"),
        output_field=models.TextField(db_collation="C"),
        db_persist=True,
    )
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="instances")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="instances")
    port = models.PositiveIntegerField(validators=[MinValueValidator(1), MaxValueValidator(65_535)])
    deploy_root = models.CharField(max_length=1000, validators=[validate_deploy_root])

    running_version = models.CharField(max_length=100, blank=True, default="", editable=False)
    running_release = models.CharField(max_length=120, blank=True, default="", editable=False)
    running_sha256 = models.CharField(max_length=64, blank=True, default="", editable=False)
    expected_version = models.CharField(max_length=100, blank=True, default="", editable=False)
    release_history = ArrayField(models.CharField(max_length=120), default=list, blank=True, editable=False)
    run_status = models.CharField(max_length=12, choices=RunStatus, default=RunStatus.UNKNOWN, editable=False)
    health = models.CharField(max_length=12, choices=Health, default=Health.UNKNOWN, editable=False)
    health_at = models.DateTimeField(null=True, blank=True, editable=False)
    reported_version = models.CharField(max_length=100, blank=True, default="", editable=False)
    reported_status = models.CharField(max_length=12, blank=True, default="", editable=False)
    reported_at = models.DateTimeField(null=True, blank=True, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("natural_key",)
        indexes = (
            models.Index(fields=("service", "natural_key"), name="instance_service_natural"),
            models.Index(fields=("service", "running_version"), name="instance_service_version"),
        )
        constraints = (
            models.UniqueConstraint(fields=("node", "deploy_root"), name="instance_one_per_deploy_root"),
            models.CheckConstraint(
                condition=Q(run_status__in=[status.value for status in STORED_RUN_STATUSES]),
                name="instance_run_status_is_storable",
            ),
        )

    def __str__(self) -> str:
        return self.instance_id

    @property
    def has_drifted(self) -> bool:
        return self.expected_version != "" and self.running_version != self.expected_version


class StatusChange(models.Model):
    """One change of one field of an instance, or of an operation's target on it. Append-only.

    The rows of one (instance, field, operation_id for `target`) form a chain: each `old` is the `new` before it.
    operation_id is `deploys.Operation`'s primary key: a plain number, because inventory knows no other app.
    """

    class Field(models.TextChoices):
        TARGET = "target"
        VERSION = "version"
        RUN_STATUS = "run_status"
        HEALTH = "health"

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="status_changes")
    field = models.CharField(max_length=12, choices=Field)
    old = models.CharField(max_length=120, blank=True)
    new = models.CharField(max_length=120, blank=True)
    at = models.DateTimeField(default=timezone.now)
    operation_id = models.BigIntegerField(null=True, blank=True)
    operation_name = models.CharField(max_length=220, blank=True, default="")
    attempt = models.PositiveIntegerField(default=1)
    actor_kind = models.CharField(max_length=8, choices=ActorKind)
    actor_name = models.CharField(max_length=200)
    note = models.TextField(blank=True, default="")

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("instance", "-id"), name="statuschange_instance_newest"),
            models.Index(fields=("operation_id", "id"), name="statuschange_operation"),
        )

    def __str__(self) -> str:
        return f"{self.field}: {self.old} → {self.new}"


class AuditEntry(models.Model):
    """Who did what to what, from where. Written by `inventory.audit.record` alone; append-only by trigger.

    A trigger fills id (no gaps), at, prev_hash and hash: each entry's hash covers its content and the hash before it.
    object_id and service are words, not references: an entry outlives what it tells of.
    """

    at = models.DateTimeField(default=timezone.now)
    actor_kind = models.CharField(max_length=8, choices=ActorKind)
    actor_name = models.CharField(max_length=200)
    actor_address = models.CharField(max_length=45, blank=True, default="")
    action = models.CharField(max_length=60)
    object_kind = models.CharField(max_length=40, blank=True, default="")
    object_id = models.CharField(max_length=220, blank=True, default="")
    service = models.CharField(max_length=100, blank=True, default="")
    detail = models.JSONField(default=dict, blank=True)
    prev_hash = models.CharField(max_length=64, unique=True, editable=False)
    hash = models.CharField(max_length=64, editable=False)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "audit entries"
        indexes = (
            models.Index(fields=("service", "-id"), name="auditentry_service_newest"),
            models.Index(fields=("object_kind", "object_id", "-id"), name="auditentry_object_newest"),
            models.Index(fields=("action", "-id"), name="auditentry_action_newest"),
            models.Index(fields=("actor_name", "-id"), name="auditentry_actor_newest"),
        )

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.object_id}".strip()
