"""Webhooks, and what was sent to them, which can be sent again."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext
from django.views.decorators.http import require_POST

from deploys.admin.webhook_form import WebhookForm
from deploys.events.outbox import send_again
from deploys.webhook_models import EventType, Webhook, WebhookDelivery
from inventory.admin.base import AuditedAdmin, ForAllServices, ReadOnlyAdmin, sees_all
from inventory.admin.columns import badge_of, chip
from inventory.console.badges import Look, badges
from inventory.security import audit
from inventory.security.access import access_of

DELIVERY = badges(
    WebhookDelivery.Status,
    {
        WebhookDelivery.Status.PENDING: Look("clock", "run"),
        WebhookDelivery.Status.SENT: Look("check", "ok"),
        WebhookDelivery.Status.FAILED: Look("x", "fail"),
    },
)


def new_secret() -> str:
    """Standard Webhooks, "Signature scheme": 24 to 64 random bytes."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


@admin.register(Webhook)
class WebhookAdmin(ForAllServices, AuditedAdmin):
    """The secret is shown when it is made, in the answer to that POST and nowhere else."""

    object_kind = "webhook"
    form = WebhookForm
    change_form_template = "admin/deploys/webhook/change_form.html"
    list_display = ("name", "state", "host", "body", "told_of", "limited_to")
    list_filter = ("is_active", "body")
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "is_active")}),
        (gettext_lazy("Where to"), {"fields": ("url", ("body", "language"), "chat_secret")}),
        (gettext_lazy("What of"), {"fields": ("events", "services")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("services")

    @admin.display(description=gettext_lazy("state"))
    def state(self, webhook: Webhook) -> SafeString:
        if not webhook.is_active:
            return chip(_("Off"), icon_name="pause")
        if webhook.unanswered:
            text = ngettext("No answer to the last try", "No answer to %(count)d tries", webhook.unanswered)
            return chip(text % {"count": webhook.unanswered}, icon_name="alert", tone="warn")
        return chip(pgettext("of a webhook", "Active"), icon_name="check", tone="ok")

    @admin.display(description=gettext_lazy("URL"))
    def host(self, webhook: Webhook) -> str:
        return webhook.shown_url

    @admin.display(description=gettext_lazy("events"))
    def told_of(self, webhook: Webhook) -> str:
        labels = dict(EventType.choices)
        return ", ".join(str(labels.get(event, event)) for event in webhook.events)

    @admin.display(description=gettext_lazy("services"))
    def limited_to(self, webhook: Webhook) -> str:
        if webhook.all_services:
            return _("all")
        return ", ".join(service.name for service in webhook.services.all()) or _("none")

    def get_urls(self) -> list[URLPattern]:
        renew = self.admin_site.admin_view(require_POST(self.renew_secret))
        return [path("<path:pk>/renew-secret/", renew, name="deploys_webhook_renew_secret"), *super().get_urls()]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A sender writes to the same row: only what was edited is written."""
        obj.all_services = not form.cleaned_data["services"]
        if change:
            edited = {field for field in form.changed_data if field != "services"}
            obj.save(update_fields=[*edited, "all_services"])
        else:
            obj.secret = new_secret()
            obj.save(force_insert=True)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        message = super().construct_change_message(request, form, formsets, add)
        # Its URL is a credential.
        for name in form.changed_data:
            if name in ("url", "chat_secret"):
                request.changes_for_audit[name] = ["", "(not kept)"]  # type: ignore[attr-defined]
        return message

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        return self._show_secret(request, obj)

    def renew_secret(self, request: HttpRequest, pk: str) -> HttpResponse:
        webhook = get_object_or_404(Webhook, pk=pk)
        if not self.has_change_permission(request, webhook):
            raise PermissionDenied
        webhook.secret = new_secret()
        webhook.save(update_fields=["secret"])
        self.record(request, webhook, "renew_secret")
        return self._show_secret(request, webhook)

    def _show_secret(self, request: HttpRequest, webhook: Webhook) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, "webhook": webhook}
        context["title"] = _("The signing secret of %(name)s") % {"name": webhook}
        response = TemplateResponse(request, "admin/deploys/webhook/secret.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Not a list of all that was ever sent."""
        names = [str(obj) for obj in objs]
        return names, {str(self.opts.verbose_name_plural): len(names)}, set(), []


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ForAllServices, ReadOnlyAdmin):
    change_form_template = "admin/deploys/webhookdelivery/change_form.html"
    list_display = ("happened_at", "webhook", "event", "subject", "state", "attempts", "answer_status", "error")
    list_filter = ("status", "event", "webhook")
    list_select_related = ("webhook",)
    ordering = ("-id",)
    search_fields = ("message_id",)
    search_help_text = gettext_lazy("A full message id or subject.")
    fieldsets = (
        (None, {"fields": (("event", "state"), ("subject", "webhook"), "message_id")}),
        (
            gettext_lazy("Tries"),
            {"fields": (("attempts", "attempted_at"), ("due_at", "expires_at"), "finished_at")},
        ),
        (gettext_lazy("The last answer"), {"fields": ("answer_status", "answer", "error")}),
        (gettext_lazy("What is sent"), {"fields": ("happened_at", "shown_data")}),
    )
    readonly_fields = ("shown_data", "state")

    @admin.display(description=gettext_lazy("status"))
    def state(self, delivery: WebhookDelivery) -> SafeString:
        return badge_of(DELIVERY, delivery.status)

    def named(self, term: str) -> Q:
        return Q(message_id=term) | Q(subject=term)

    @admin.display(description=gettext_lazy("data"))
    def shown_data(self, delivery: WebhookDelivery) -> str:
        return format_html("<pre>{}</pre>", json.dumps(delivery.data, indent=2, ensure_ascii=False))

    def get_urls(self) -> list[URLPattern]:
        again = self.admin_site.admin_view(require_POST(self.send_again))
        return [path("<path:pk>/send-again/", again, name="deploys_webhookdelivery_send_again"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "may_send_again": _may_send_again(request)}
        return super().change_view(request, object_id, form_url, context)

    def send_again(self, request: HttpRequest, pk: str) -> HttpResponse:
        if not _may_send_again(request):
            raise PermissionDenied
        delivery = get_object_or_404(WebhookDelivery.objects.select_related("webhook"), pk=pk)
        if send_again(delivery):
            said = {"message_id": delivery.message_id, "event": delivery.event}
            audit.record(
                actor=access_of(request).actor,
                action="webhook.send_again",
                object_kind="webhook",
                object_id=delivery.webhook,
                detail=said,
            )
            messages.success(request, _("%(id)s is being sent again.") % {"id": delivery.message_id})
        else:
            messages.warning(request, _("%(id)s is being sent just now.") % {"id": delivery.message_id})
        return HttpResponseRedirect(reverse("admin:deploys_webhookdelivery_change", args=[delivery.pk]))


def _may_send_again(request: HttpRequest) -> bool:
    return sees_all(request) and request.user.has_perm("deploys.change_webhook")
