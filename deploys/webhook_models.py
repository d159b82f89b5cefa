"""Webhooks, and what is to be sent or was sent to them. The outbox is `WebhookDelivery`: its rows commit with their event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from inventory.models import Service

# How long a delivery is tried, and by each "Send again" anew.
TRIED_FOR = timedelta(days=1)


class EventType(models.TextChoices):
    OPERATION_FINISHED = "operation.finished", _("An operation has ended")
    INSTANCE_DRIFTED = "instance.drifted", _("Instances have drifted")
    SERVICE_HELD = "service.held", _("A service is held")
    SERVICE_RELEASED = "service.released", _("A service is no longer held")


class BodyFormat(models.TextChoices):
    """What a body looks like: JSON for programs, or the message of a chat."""

    STANDARD = "standard", _("JSON")
    SLACK = "slack", "Slack"
    FEISHU = "feishu", _("Feishu (Lark)")
    DINGTALK = "dingtalk", _("DingTalk")
    WECOM = "wecom", _("WeCom")


class Language(models.TextChoices):
    ENGLISH = "en", "English"
    CHINESE = "zh-hans", "简体中文"


class Webhook(models.Model):
    """Where events are sent to.

    url is a credential as a whole, for chats put their token into path or query: pages, logs and the audit show
    `shown_url`. secret signs every body (`whsec_` and base64, as Standard Webhooks write it); chat_secret is the one that Feishu
    or DingTalk give out for signatures of theirs. all_services says so outright: were "no services" to mean all, a webhook
    would grow when its last service goes. unanswered counts the tries in a row that got no answer at all; until rests_until
    (database clock) none is made.
    """

    name = models.CharField(_("name"), max_length=100)
    url = models.TextField(_("URL"))
    all_services = models.BooleanField(_("all services"), default=True, editable=False)
    services = models.ManyToManyField(
        Service,
        verbose_name=_("services"),
        blank=True,
        related_name="+",
        help_text=_("None selected: all services, future ones included."),
    )
    events: ArrayField[Sequence[str], list[str]] = ArrayField(
        models.CharField(max_length=40, choices=EventType), verbose_name=_("events")
    )
    body = models.CharField(
        pgettext_lazy("of a webhook", "body"), max_length=12, choices=BodyFormat, default=BodyFormat.STANDARD
    )
    language = models.CharField(
        _("language"),
        max_length=12,
        choices=Language,
        default=Language.ENGLISH,
        help_text=_("Of the sentence that a chat shows."),
    )
    secret = models.CharField(_("signing secret"), max_length=100, editable=False)
    chat_secret = models.CharField(_("secret of the chat"), max_length=200, blank=True, default="")
    is_active = models.BooleanField(_("active"), default=True)
    unanswered = models.PositiveIntegerField(_("tries without an answer"), default=0, db_default=0, editable=False)
    rests_until = models.DateTimeField(_("rests until"), db_default=Now(), editable=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name

    @property
    def shown_url(self) -> str:
        """Scheme and host alone."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"


class WebhookDelivery(models.Model):
    """One event for one webhook: first what is to be sent, then how that went. message_id is the `webhook-id`, of every try.

    subject: what the event is about; of the same subject one webhook gets the events in the order of their ids.
    due_at: not before (database clock); a try that is under way puts it to when it is given up for lost. claim: that try's
    own number, '' between tries. expires_at: after the try behind it there is no other. answer_status None: no answer came.
    """

    class Status(models.TextChoices):
        PENDING = "pending", pgettext_lazy("delivery", "To be sent")
        SENT = "sent", pgettext_lazy("delivery", "Delivered")
        FAILED = "failed", pgettext_lazy("delivery", "Failed")

    webhook = models.ForeignKey(Webhook, verbose_name=_("webhook"), on_delete=models.CASCADE, related_name="deliveries")
    message_id = models.CharField(_("message id"), max_length=40, unique=True)
    event = models.CharField(_("event"), max_length=40, choices=EventType)
    subject = models.CharField(_("subject"), max_length=220)
    data = models.JSONField(_("data"))
    happened_at = models.DateTimeField(_("time of the event"), db_default=Now())

    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.PENDING)
    attempts = models.PositiveIntegerField(_("tries"), default=0)
    due_at = models.DateTimeField(_("next try"), db_default=Now())
    claim = models.CharField(_("claim"), max_length=32, blank=True, default="", editable=False)
    expires_at = models.DateTimeField(_("tried until"), db_default=Now() + TRIED_FOR)
    attempted_at = models.DateTimeField(_("last try"), null=True, blank=True)
    answer_status = models.PositiveIntegerField(_("status of the answer"), null=True, blank=True)
    answer = models.TextField(_("answer"), blank=True, default="")
    error = models.TextField(_("error"), blank=True, default="")
    finished_at = models.DateTimeField(_("ended at"), null=True, blank=True)

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                condition=Q(status="pending", finished_at__isnull=True)
                | Q(status__in=["sent", "failed"], finished_at__isnull=False),
                name="webhookdelivery_finished_iff_ended",
            ),
        )
        indexes = (
            models.Index(fields=("webhook", "id"), condition=Q(status="pending"), name="webhookdelivery_pending"),
            models.Index(
                fields=("webhook", "subject", "id"), condition=Q(status="pending"), name="webhookdelivery_order"
            ),
            models.Index(fields=("finished_at",), name="webhookdelivery_ended"),
            models.Index(fields=("webhook", "-id"), name="webhookdelivery_newest"),
        )

    def __str__(self) -> str:
        return self.message_id
