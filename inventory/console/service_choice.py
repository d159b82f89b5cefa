"""How a form asks for some services, or all of them."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from inventory.models import Service


def service_choice() -> forms.ModelMultipleChoiceField[Service]:
    return forms.ModelMultipleChoiceField(
        label=_("Services"),
        queryset=Service.objects.all(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None selected: all services, future ones included."),
    )
