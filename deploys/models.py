"""Operations (deploys and rollbacks alike), their targets, log lines and leases."""

from __future__ import annotations

from typing import ClassVar, Self

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from deploys.states import ACTIVE, TERMINAL, Kind, OperationStatus, Step, StopReason, TargetStatus, Until
from deploys.webhook_models import Webhook, WebhookDelivery  # noqa: F401  # Django looks for an app's models here
from inventory.actors import ActorKind
from inventory.models import Instance, Service


class Package(models.Model):
    """A version of a service as bytes, pinned when first seen.

    sha256: hex digest of the package as downloaded. release: its folder's name under releases/. url keeps its query
    and userinfo, for the download alone; answers, pages and logs show `redact_url(url)`. signature: the one that came
    with the request or lay beside the package, so that these bytes need no `.sig` file again.
    """

    service = models.ForeignKey(Service, verbose_name=_("service"), on_delete=models.CASCADE, related_name="packages")
    version = models.CharField(_("version"), max_length=100)
    sha256 = models.CharField(_("SHA-256"), max_length=64)
    release = models.CharField(_("release"), max_length=120)
    size_bytes = models.BigIntegerField(_("size in bytes"), validators=[MinValueValidator(0)])
    url = models.TextField(_("package URL"))
    signature = models.CharField(_("signature"), max_length=200, blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("package")
        verbose_name_plural = _("packages")
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=("service", "version", "sha256"), name="package_one_per_digest"),
            models.UniqueConstraint(fields=("service", "release"), name="package_one_per_release"),
        )

    def __str__(self) -> str:
        return f"{self.service_id}/{self.release}"


class Operation(models.Model):
    """One deploy or one rollback of one service.

    status and the counts are stored here when the last target ends; until then they are derived from the targets
    (`deploys.operations.queries`). log_seq numbers the log's lines: it is only ever raised under this row's lock, so that
    numbers become visible in their order. log_bytes: of their text.
    """

    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    public_id = models.CharField(_("id"), max_length=200)
    service = models.ForeignKey(Service, verbose_name=_("service"), on_delete=models.PROTECT, related_name="operations")
    version = models.CharField(_("version"), max_length=100)
    until = models.CharField(
        _("how far"), max_length=8, choices=Until, default=Until.SWITCHED, db_default=Until.SWITCHED.value
    )
    from_version = models.CharField(_("from version"), max_length=100, blank=True, default="")
    package_url = models.TextField(_("package URL"), blank=True, default="")
    requested_sha256 = models.CharField(_("requested SHA-256"), max_length=64, blank=True, default="")
    signature = models.CharField(_("signature"), max_length=200, blank=True, default="", db_default="", editable=False)
    package = models.ForeignKey(
        Package, verbose_name=_("package"), on_delete=models.SET_NULL, null=True, blank=True, related_name="operations"
    )
    package_error_code = models.CharField(_("package error code"), max_length=40, blank=True, default="")
    package_error_message = models.TextField(_("package error message"), blank=True, default="")
    package_error_told = models.JSONField(_("package error message's sentences"), null=True, blank=True, editable=False)
    fingerprint = models.CharField(_("fingerprint"), max_length=64)
    message = models.CharField(_("message"), max_length=200, blank=True, default="")
    confirm_within = models.PositiveIntegerField(_("to be confirmed within seconds"), default=0, db_default=0)

    status = models.CharField(_("status"), max_length=12, choices=OperationStatus, default=OperationStatus.PENDING)
    total = models.PositiveIntegerField(_("total"))
    completed = models.PositiveIntegerField(_("completed"), default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    cancelled = models.PositiveIntegerField(_("cancelled"), default=0)
    superseded = models.PositiveIntegerField(_("superseded"), default=0)

    requested_by = models.CharField(_("requested by"), max_length=200)
    requested_by_kind = models.CharField(_("requested by kind"), max_length=8, choices=ActorKind)
    reason = models.TextField(_("reason"), blank=True, default="")
    undoes = models.ForeignKey(
        "self", verbose_name=_("undoes"), on_delete=models.SET_NULL, null=True, blank=True, related_name="undone_by"
    )
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    log_seq = models.BigIntegerField(_("log sequence number"), default=0)
    log_bytes = models.BigIntegerField(_("size of the log in bytes"), default=0, db_default=0, editable=False)

    started_at = models.DateTimeField(_("started at"), db_default=Now())
    updated_at = models.DateTimeField(_("updated at"), db_default=Now())
    cancel_requested_at = models.DateTimeField(_("cancel requested at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(fields=("kind", "public_id"), name="operation_one_per_id"),
            models.CheckConstraint(
                condition=Q(
                    finished_at__isnull=True,
                    status__in=[OperationStatus.PENDING.value, OperationStatus.IN_PROGRESS.value],
                )
                | Q(
                    finished_at__isnull=False,
                    status__in=[
                        OperationStatus.COMPLETED.value,
                        OperationStatus.FAILED.value,
                        OperationStatus.CANCELLED.value,
                    ],
                ),
                name="operation_finished_iff_terminal",
            ),
        )
        indexes = (
            models.Index(fields=("service", "-id"), name="operation_service_newest"),
            models.Index(fields=("kind", "-id"), name="operation_kind_newest"),
            models.Index(fields=("kind", "status", "-id"), name="operation_kind_status_newest"),
            models.Index(fields=("-id",), condition=Q(finished_at__isnull=True), name="operation_unfinished"),
            models.Index(fields=("service", "-id"), condition=Q(until=Until.STAGED.value), name="operation_staged"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.public_id}"


class DeployManager(models.Manager["Deploy"]):
    def get_queryset(self) -> models.QuerySet[Deploy]:
        return super().get_queryset().filter(kind=Kind.DEPLOY)


class Deploy(Operation):
    objects: ClassVar[DeployManager] = DeployManager()

    class Meta:
        verbose_name = _("deploy")
        verbose_name_plural = _("deploys")
        proxy = True
        ordering = ("-id",)


class Lease(models.Model):
    """A work loop's claim to be alive. Its targets may be reassigned once `expires_at` (database clock) has passed.

    process: which one holds it (`deploys.worker.processes`); '' for one of a release that did not say so.
    """

    worker = models.CharField(_("worker"), max_length=200)
    queue = models.CharField(_("queue"), max_length=20)
    process = models.CharField(_("process"), max_length=200, blank=True, default="", db_default="", editable=False)
    started_at = models.DateTimeField(_("started at"), db_default=Now())
    expires_at = models.DateTimeField(_("expires at"), db_index=True)

    class Meta:
        verbose_name = _("lease")
        verbose_name_plural = _("leases")

    def __str__(self) -> str:
        return f"{self.worker} #{self.pk}"


class Target(models.Model):
    """One instance within an operation; a retry adds a new row with the next attempt.

    fence comes from one sequence for the whole system and rises with every claim; the node refuses lower ones.
    stop_reason is set by a cancel or by a rollback that supersedes it, and obeyed at the next safe point.
    step_seconds: how long each finished step took, e.g. {"stage": 0.21}.
    sent_bytes: what went to its node for this release, and full_bytes: what all of it takes; null when nothing had to be sent.
    error_told: the sentences of error_message (`deploys.told`), null where they are not known.
    begun_fence: the newest claim whose work on the node has begun. deaths: how many workers are proven to have died then.
    ask_at: of one whose node waits for a confirmation, when a worker looks after it next; confirm_by: until when it waits,
    by the database's clock, confirmed_at: when it was confirmed.
    """

    operation = models.ForeignKey(
        Operation, verbose_name=_("operation"), on_delete=models.CASCADE, related_name="targets"
    )
    instance = models.ForeignKey(Instance, verbose_name=_("instance"), on_delete=models.PROTECT, related_name="targets")
    kind = models.CharField(_("kind"), max_length=8, choices=Kind)
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    is_latest = models.BooleanField(_("newest attempt"), default=True)

    status = models.CharField(_("status"), max_length=12, choices=TargetStatus, default=TargetStatus.PENDING)
    step = models.CharField(_("step"), max_length=16, choices=Step, default=Step.QUEUED)
    step_seconds = models.JSONField(_("step seconds"), default=dict)
    error_code = models.CharField(_("error code"), max_length=40, blank=True, default="")
    error_message = models.TextField(_("error message"), blank=True, default="")
    error_told = models.JSONField(_("error message's sentences"), null=True, blank=True, editable=False)
    reverted = models.BooleanField(_("reverted"), null=True)
    source = models.CharField(_("source"), max_length=8, blank=True, default="")
    sent_bytes = models.BigIntegerField(_("bytes sent"), null=True, blank=True, editable=False)
    full_bytes = models.BigIntegerField(_("bytes of the full release"), null=True, blank=True, editable=False)
    previous_version = models.CharField(_("previous version"), max_length=100, blank=True, default="")
    stop_reason = models.CharField(
        _("stop reason"), max_length=10, choices=StopReason, default=StopReason.NONE, blank=True
    )
    stop_requested_at = models.DateTimeField(_("stop requested at"), null=True, blank=True)

    confirm_by = models.DateTimeField(_("to be confirmed by"), null=True, blank=True)
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True, blank=True)
    ask_at = models.DateTimeField(_("node asked next at"), null=True, blank=True, editable=False)

    lease = models.ForeignKey(
        Lease, verbose_name=_("lease"), on_delete=models.SET_NULL, null=True, blank=True, related_name="targets"
    )
    fence = models.BigIntegerField(_("fencing token"), null=True, blank=True)
    claims = models.PositiveIntegerField(_("times claimed"), default=0)
    begun_fence = models.BigIntegerField(_("newest claim that has begun"), null=True, blank=True, editable=False)
    deaths = models.PositiveIntegerField(_("workers that died"), default=0, db_default=0, editable=False)

    created_at = models.DateTimeField(_("created at"), db_default=Now())
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    updated_at = models.DateTimeField(_("updated at"), db_default=Now())
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    class Meta:
        verbose_name = _("target")
        verbose_name_plural = _("targets")
        ordering = ("id",)
        constraints = (
            # The instance lock: one unfinished deploy and one unfinished rollback at the most, one of them in progress.
            models.UniqueConstraint(
                fields=("instance", "kind"),
                condition=Q(status__in=[status.value for status in ACTIVE]),
                name="target_one_active_per_kind",
            ),
            models.UniqueConstraint(
                fields=("instance",),
                condition=Q(status=TargetStatus.IN_PROGRESS.value),
                name="target_one_at_work",
            ),
            models.UniqueConstraint(fields=("operation", "instance", "attempt"), name="target_one_per_attempt"),
            models.UniqueConstraint(
                fields=("operation", "instance"), condition=Q(is_latest=True), name="target_one_latest"
            ),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True, status__in=[status.value for status in ACTIVE])
                | Q(finished_at__isnull=False, status__in=[status.value for status in TERMINAL]),
                name="target_finished_iff_terminal",
            ),
        )
        indexes = (
            models.Index(fields=("operation", "status"), condition=Q(is_latest=True), name="target_operation_status"),
            models.Index(
                fields=("kind", "operation", "id"),
                condition=Q(status__in=[status.value for status in ACTIVE]),
                name="target_claimable",
            ),
            models.Index(fields=("instance", "-id"), name="target_instance_newest"),
            models.Index(fields=("lease",), condition=Q(lease__isnull=False), name="target_leased"),
        )

    def __str__(self) -> str:
        return f"target {self.pk} ({self.status})"


class LogLine(models.Model):
    """One line of an operation's log. seq orders the whole operation's lines and is the reader's cursor.

    told: the sentences of the system's own lines (`deploys.told`), null for what a command printed; text: them in English.
    """

    class Stream(models.TextChoices):
        SYSTEM = "system"
        STDOUT = "stdout"
        STDERR = "stderr"

    operation = models.ForeignKey(
        Operation, verbose_name=_("operation"), on_delete=models.CASCADE, related_name="log_lines"
    )
    seq = models.BigIntegerField(_("number"))
    instance = models.ForeignKey(Instance, verbose_name=_("instance"), on_delete=models.CASCADE, null=True, blank=True)
    at = models.DateTimeField(_("time"))
    step = models.CharField(_("step"), max_length=16, blank=True, default="")
    stream = models.CharField(_("stream"), max_length=8, choices=Stream, default=Stream.SYSTEM)
    text = models.TextField(_("text"))
    told = models.JSONField(_("text's sentences"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("log line")
        verbose_name_plural = _("log lines")
        ordering = ("operation", "seq")
        constraints = (models.UniqueConstraint(fields=("operation", "seq"), name="logline_one_per_seq"),)
        indexes = (models.Index(fields=("operation", "instance", "seq"), name="logline_instance"),)

    def __str__(self) -> str:
        return self.text


class HoldQuerySet(models.QuerySet["Hold"]):
    def active(self) -> Self:
        """Those that keep deploys out now: neither released nor past their end, by the database's clock."""
        return self.filter(Q(until=None) | Q(until__gt=Now()), released_at=None)

    def expired(self) -> Self:
        """Past their end, and not closed for it yet."""
        return self.filter(released_at=None, until__lte=Now())


class Hold(models.Model):
    """A service that takes no deploys, for a reason, until it is released or `until` has passed.

    released_at, released_by: null and '' while it is active, and for one past its end that nobody has closed yet.
    Written by `deploys.operations.hold` alone.
    """

    service = models.ForeignKey(Service, verbose_name=_("service"), on_delete=models.CASCADE, related_name="holds")
    reason = models.TextField(_("reason"))
    held_by = models.CharField(_("held by"), max_length=200)
    held_by_kind = models.CharField(_("held by kind"), max_length=8, choices=ActorKind)
    held_at = models.DateTimeField(_("held at"), db_default=Now())
    until = models.DateTimeField(_("until"), null=True, blank=True)
    released_at = models.DateTimeField(_("released at"), null=True, blank=True)
    released_by = models.CharField(_("released by"), max_length=200, blank=True, default="")
    released_by_kind = models.CharField(_("released by kind"), max_length=8, choices=ActorKind, blank=True, default="")

    objects = HoldQuerySet.as_manager()

    class Meta:
        verbose_name = _("hold")
        verbose_name_plural = _("holds")
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(
                fields=("service",), condition=Q(released_at__isnull=True), name="hold_one_active_per_service"
            ),
        )

    def __str__(self) -> str:
        return f"hold of service {self.service_id}"


class DatabaseSeal(models.Model):
    """One row, which fits the table and the transaction that it was written in: in a restored database it does not
    (`deploys.operations.restored`)."""

    table_oid = models.BigIntegerField()
    xid = models.CharField(max_length=20)

    class Meta:
        verbose_name = _("identity of the database")
        verbose_name_plural = _("identities of the database")

    def __str__(self) -> str:
        return f"identity {self.pk}"


class Worker(models.Model):
    """A worker host's supervisor. seen_at: its own heartbeat; canary_at: when its clusters last ran a task.

    version: of its code; '' of one before 0.2.0. is_paused: it claims nothing (`manage.py worker --paused`), and reads what
    runs all the same.

    trouble, trouble_at: what one of its processes last met in the database, other than an error, and when.
    """

    class Trouble(models.TextChoices):
        NONE = "", _("None")
        CONNECTIONS = "connections", _("Short of connections")
        SLOW = "slow", _("Slow")

    name = models.CharField(_("name"), max_length=200, unique=True)
    host = models.CharField(_("host"), max_length=253)
    pid = models.IntegerField(_("process id"))
    started_at = models.DateTimeField(_("started at"), db_default=Now())
    seen_at = models.DateTimeField(_("last heartbeat"), db_default=Now())
    canary_at = models.DateTimeField(_("queue probed at"), null=True, blank=True)
    version = models.CharField(_("version"), max_length=40, blank=True, default="", db_default="")
    is_paused = models.BooleanField(_("paused"), default=False, db_default=False)
    trouble = models.CharField(
        _("trouble with the database"), max_length=20, choices=Trouble, blank=True, default="", db_default=""
    )
    trouble_at = models.DateTimeField(_("last trouble with the database"), null=True, blank=True)

    class Meta:
        verbose_name = _("worker")
        verbose_name_plural = _("workers")

    def __str__(self) -> str:
        return self.name
