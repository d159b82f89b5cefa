"""What a rollback's confirmation carries beside the plan itself."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from deploys.web.pages.forms import check_package_url, reason_field
from deploys.web.reauth_form import password_field
from inventory.wire.limits import MAX_URL_LENGTH


class ConfirmForm(forms.Form):
    """digest: of the plan that was shown. rollback_id: makes a second click the same rollback."""

    digest = forms.CharField(max_length=64, widget=forms.HiddenInput)
    rollback_id = forms.RegexField(regex=r"^rollback-[0-9a-f]{16}\Z", widget=forms.HiddenInput)
    package_url = forms.CharField(
        label=_("Package URL"),
        required=False,
        max_length=MAX_URL_LENGTH,
        validators=[check_package_url],
        help_text=_("Needed only where neither the node, nor our store, nor an earlier deploy has the version."),
    )
    reason = reason_field()
    hold = forms.BooleanField(
        label=_("Hold the service, too"),
        required=False,
        initial=True,
        help_text=_("No deploy of it starts from then on, until somebody releases it."),
    )
    password = password_field()
