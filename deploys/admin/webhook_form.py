"""The form of a webhook. Its URL and the chat's secret go in and never come out again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from deploys.webhook_models import EventType, Webhook
from deploys.webhooks.rules import webhook_url_problem
from inventory.console.service_choice import service_choice
from inventory.wire.package_urls import is_http_url

if TYPE_CHECKING:
    Base = forms.ModelForm[Webhook]
else:
    Base = forms.ModelForm

_HIDDEN = ("url", "chat_secret")
_NO_URL = _("Write a complete URL that begins with https:// or http://.")


class WebhookForm(Base):
    url = forms.CharField(label=_("URL"), error_messages={"required": _NO_URL})
    events = forms.MultipleChoiceField(
        label=_("Events"), choices=EventType.choices, widget=forms.CheckboxSelectMultiple
    )
    services = service_choice()
    chat_secret = forms.CharField(label=_("Secret of the chat"), required=False, max_length=200)

    class Meta:
        model = Webhook
        fields = ("name", "url", "body", "chat_secret", "language", "events", "services", "is_active")
        help_texts = {
            "name": _("For whom it is, such as “on-call chat”."),
            "body": _("JSON for programs, signed as Standard Webhooks say; or the message of a chat."),
            "is_active": _("Off: nothing is sent, and what happens meanwhile is not sent later."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["url"].required = not self.instance.pk
        for name in _HIDDEN:
            self.initial[name] = ""
        self.fields["chat_secret"].help_text = _(
            "Only where the chat asks for one: Feishu's “Set signature verification”, DingTalk's “Additional signature”."
        )
        self.fields["url"].help_text = _(
            "Such as `https://hooks.example.com/release`. It counts as a secret: it is never shown again. "
            "Its host has to be one of `RELEASE_WEBHOOK_HOSTS`."
        )
        if self.instance.pk:
            self.fields["url"].help_text = _("Empty: %(url)s, as it is.") % {"url": self.instance.shown_url}
        if self.instance.pk and self.instance.chat_secret:
            self.fields["chat_secret"].help_text = _("Empty: as it is.")

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"] or self.instance.url
        if not is_http_url(url):
            raise ValidationError(_NO_URL, code="invalid")
        # One that was allowed once may stay while something else is edited: nothing is sent to it then.
        if self.cleaned_data["url"] and webhook_url_problem(url):
            raise ValidationError(
                _(
                    "Nothing may be sent to %(host)s: use another host, or have RELEASE_WEBHOOK_HOSTS name this one and "
                    "restart web and workers."
                ),
                code="host_not_allowed",
                params={"host": urlsplit(url).netloc.rpartition("@")[2]},
            )
        return url

    def clean_chat_secret(self) -> str:
        return self.cleaned_data["chat_secret"] or self.instance.chat_secret
