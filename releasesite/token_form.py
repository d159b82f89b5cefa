"""The form that makes an API token."""

from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from inventory.console.service_choice import service_choice
from releasesite.models import TokenScope, validate_network


class TokenForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=100, help_text=_("Who or what will use it."))
    scope = forms.ChoiceField(
        label=_("Scope"),
        choices=TokenScope.choices,
        help_text=_("A scheduler needs the first; a node that reports, the third."),
    )
    services = service_choice()
    expires_in_days = forms.IntegerField(
        label=_("Expires in days"), min_value=1, max_value=3650, required=False, help_text=_("Empty: never.")
    )
    allowed_networks = forms.CharField(
        label=_("Allowed networks"),
        required=False,
        help_text=_("Such as 10.0.0.0/8 or a single address, separated by spaces. Empty: from anywhere."),
    )

    def clean_allowed_networks(self) -> list[str]:
        networks: list[str] = self.cleaned_data["allowed_networks"].replace(",", " ").split()
        for network in networks:
            validate_network(network)
        if any(len(network) > 50 for network in networks):
            raise ValidationError(_("Not a valid network."))
        return networks
