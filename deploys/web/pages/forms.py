"""The forms of deploys: what to put where, and what to look for in the history."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from deploys.models import Package
from deploys.packages.signatures import is_signature
from deploys.states import Kind, OperationStatus, Until
from inventory.models import Service
from inventory.names import MAX_NAME_LENGTH, is_name
from inventory.security.access import Access
from inventory.wire.limits import MAX_CONFIRM_SECONDS, MAX_REASON_LENGTH, MAX_URL_LENGTH, MIN_CONFIRM_SECONDS
from inventory.wire.package_urls import is_package_url

INVALID_VERSION = _("A version has 1 to 100 letters, digits or . _ + -, and starts with a letter or digit.")


def _check_version(value: str) -> None:
    if not is_name(value):
        raise ValidationError(INVALID_VERSION, code="invalid")


def check_package_url(value: str) -> None:
    if not is_package_url(value):
        raise ValidationError(_("Enter a complete http, https or s3 URL, without spaces."), code="invalid")


def _check_signature(value: str) -> None:
    if not is_signature(value):
        raise ValidationError(_("An Ed25519 signature: 64 bytes in hex or base64."), code="invalid")


def reason_field() -> forms.CharField:
    return forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=MAX_REASON_LENGTH,
        help_text=_("Stored with the operation and in the audit trail."),
        widget=forms.Textarea(attrs={"rows": 2}),
    )


class DeployForm(forms.Form):
    """The rules are the API's; `services.start_deploy` says what else is in the way."""

    service = forms.ModelChoiceField(label=_("Service"), queryset=Service.objects.none(), to_field_name="name")
    version = forms.CharField(label=_("Version"), max_length=MAX_NAME_LENGTH, validators=[_check_version])
    package_url = forms.CharField(
        label=_("Package URL"),
        required=False,
        max_length=MAX_URL_LENGTH,
        validators=[check_package_url],
        help_text=_("Not needed for a version that is known here: its package is pinned."),
    )
    sha256 = forms.RegexField(
        label=_("SHA-256 of the package"),
        regex=r"^[0-9a-fA-F]{64}\Z",
        required=False,
        help_text=_("Optional. The deploy fails before anything changes if the package is another one."),
        error_messages={"invalid": _("64 hexadecimal digits.")},
    )
    signature = forms.CharField(
        label=_("Signature of the package"),
        required=False,
        validators=[_check_signature],
        help_text=_("Only if the service has a signing key and there is no “.sig” beside the package."),
    )
    scope = forms.ChoiceField(
        label=_("Instances"),
        choices=(("all", _("All instances of the service")), ("some", _("Only these"))),
        widget=forms.RadioSelect,
        initial="all",
    )
    instances = forms.CharField(
        label=_("Instance ids"),
        required=False,
        help_text=_("Separated by spaces, commas or lines."),
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
    )
    until = forms.ChoiceField(
        label=_("How far"),
        choices=Until.choices,
        widget=forms.RadioSelect,
        initial=Until.SWITCHED,
        required=False,
        help_text=_(
            "A check changes nothing on the nodes. What is staged stands beside the running release, and is switched to "
            "by a later deploy without a download."
        ),
    )
    confirm_within = forms.IntegerField(
        label=_("To be confirmed within, in seconds"),
        required=False,
        min_value=MIN_CONFIRM_SECONDS,
        max_value=MAX_CONFIRM_SECONDS,
        help_text=_("Optional. Each instance reverts by itself, on its node, unless it is confirmed in this time."),
    )
    reason = reason_field()

    def __init__(self, *args: Any, access: Access, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        services = self.fields["service"]
        assert isinstance(services, forms.ModelChoiceField)
        services.queryset = access.visible(Service.objects.all(), "pk")
        for name in ("version", "package_url", "sha256", "signature", "instances"):
            self.fields[name].widget.attrs.update({"autocomplete": "off", "spellcheck": "false", "class": "mono"})

    def clean_sha256(self) -> str:
        return str(self.cleaned_data["sha256"]).lower()

    def clean_until(self) -> Until:
        """A page that was opened before the upgrade does not ask it."""
        return Until(self.cleaned_data["until"] or Until.SWITCHED)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("scope") == "some" and not cleaned.get("instances", "").strip():
            self.add_error("instances", _("Name at least one instance."))
        if cleaned.get("confirm_within") and cleaned.get("until") not in (None, Until.SWITCHED):
            self.add_error("confirm_within", _("Only what is switched can be confirmed."))
        is_known_meant = {"service", "version", "sha256"} <= cleaned.keys() and cleaned.get("package_url") == ""
        if is_known_meant and self.known_package() is None:
            self.add_error("package_url", _("Enter it: no such package of this version is known here."))
        return cleaned

    def known_package(self) -> Package | None:
        """The pinned package that is meant where no URL is given; of a mutable version the newest, or the one of the digest."""
        asked = self.cleaned_data
        if asked["package_url"]:
            return None
        packages = Package.objects.filter(service=asked["service"], version=asked["version"])
        return (packages.filter(sha256=asked["sha256"]) if asked["sha256"] else packages).first()

    def instance_ids(self) -> tuple[str, ...]:
        """As named, or all of the service's."""
        if self.cleaned_data["scope"] == "some":
            named = self.cleaned_data["instances"].replace(",", " ").replace(";", " ").split()
            return tuple(dict.fromkeys(named))
        service: Service = self.cleaned_data["service"]
        return tuple(service.instances.listed().order_by("natural_key").values_list("instance_id", flat=True))


class HoldForm(forms.Form):
    """hours: after which the hold ends by itself; None: never."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=MAX_REASON_LENGTH,
        help_text=_("Everybody whose deploy is refused reads it."),
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    hours = forms.TypedChoiceField(
        label=_("Until"),
        required=False,
        coerce=int,
        empty_value=None,
        choices=[
            ("", _("it is released")),
            (1, _("1 hour from now")),
            (4, _("4 hours from now")),
            (8, _("8 hours from now")),
            (24, _("1 day from now")),
            (72, _("3 days from now")),
        ],
    )


class HistoryForm(forms.Form):
    service = forms.CharField(
        label=_("Service"),
        required=False,
        max_length=MAX_NAME_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    kind = forms.ChoiceField(
        label=_("Kind"),
        required=False,
        choices=[("", _("All")), *Kind.choices],
    )
    status = forms.ChoiceField(
        label=_("Result"),
        required=False,
        choices=[("", _("All")), *OperationStatus.choices],
    )
    version = forms.CharField(label=_("Version"), required=False, max_length=MAX_NAME_LENGTH)
    who = forms.CharField(label=_("Who"), required=False, max_length=200)
    since = forms.DateTimeField(label=_("From day"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateTimeField(label=_("To day"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
