"""The admin's forms of the inventory. The models have the rules for a row, `rules` those that span rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext_lazy as _

from inventory.editing import help_texts
from inventory.editing.rules import Edit, faults
from inventory.models import Instance, JumpHost, Node, Service
from inventory.validation import misplaced_jump, validate_jump_socket

if TYPE_CHECKING:
    RowForm = forms.ModelForm[Any]
else:
    RowForm = forms.ModelForm


class EditForm(RowForm):
    """One row; without a formset around it, it asks the rules that span rows by itself."""

    asks_rules = True

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.asks_rules:
            ask_rules([self])
        return cleaned

    def edit(self) -> Edit:
        values = {name: value for name, value in self.cleaned_data.items() if name != "id"}
        return Edit(row=type(self.instance)(pk=self.instance.pk, **values), changed=self.changed_data)


def ask_rules(edited: Iterable[EditForm]) -> None:
    """Add what the rules that span rows say of these rows together to the forms at fault; of sound forms only."""
    edits = {form.edit(): form for form in edited if form.errors.keys() <= {NON_FIELD_ERRORS}}
    found = list(faults(edits))
    for form in {edits[fault.edit] for fault in found}:
        # The database's constraint is about the same, and names nobody.
        form.errors.pop(NON_FIELD_ERRORS, None)
    for fault in found:
        edits[fault.edit].add_error(fault.field, ValidationError(fault.text, code=fault.code))


class ServiceForm(EditForm):
    class Meta:
        model = Service
        exclude: tuple[str, ...] = ()
        help_texts = help_texts.SERVICE
        widgets = {  # Django's own way
            "restart_command": forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
            "before_switch_command": forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
            "version_command": forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
            "signing_key": forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in ("zip_names", "version_command", "version_timeout", "staged_days"):
            self._keep_if_not_sent(field)

    def _keep_if_not_sent(self, field: str) -> None:
        """A page that was opened before the upgrade does not know it: what the service has stays."""
        if self.is_bound and self.add_prefix(field) not in self.data:
            sent: Any = self.data.copy()  # type: ignore[attr-defined]  # a QueryDict, or a test's dict
            sent[self.add_prefix(field)] = getattr(self.instance, field)
            self.data = sent


class JumpHostForm(EditForm):
    class Meta:
        model = JumpHost
        exclude: tuple[str, ...] = ()
        help_texts = help_texts.JUMP_HOST
        widgets = {  # Django's own way
            "ssh_host_key": forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        }


class NodeForm(EditForm):
    class Meta:
        model = Node
        exclude: tuple[str, ...] = ()
        help_texts = help_texts.NODE
        widgets = {  # Django's own way
            "ssh_host_key": forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        }


class InstanceForm(EditForm):
    class Meta:
        model = Instance
        exclude: tuple[str, ...] = ()
        help_texts = help_texts.INSTANCE

    def _get_validation_exclusions(self) -> set[str]:
        """The constraint on deploy roots has it in its condition: without it, Django does not look at that."""
        exclusions: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]  # the stubs leave it out
        return exclusions - {"retired_at"}


class InstanceRowForm(InstanceForm):
    """One of the instances on a service's page; the formset asks for all of them together."""

    asks_rules = False


class HostKeyForm(forms.Form):
    """Where to fetch a host key from."""

    host = forms.CharField(label=_("Host"), max_length=253)
    ssh_port = forms.IntegerField(label=_("Port"), min_value=1, max_value=65_535, initial=22)
    jump = forms.ModelChoiceField(label=_("Jump host"), queryset=JumpHost.objects.all(), required=False)
    jump_socket = forms.CharField(
        label=_("Socket on the jump host"), max_length=107, required=False, validators=[validate_jump_socket]
    )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        has_jump = cleaned.get("jump") is not None
        for field, error in misplaced_jump(
            transport="ssh", has_jump=has_jump, socket=cleaned.get("jump_socket", "")
        ).items():
            self.add_error(field, error)
        return cleaned


class InventoryFileForm(forms.Form):
    """An inventory file to be looked at before it is brought in."""

    file = forms.FileField(label=_("Inventory file"), help_text=_("YAML: services, jump hosts, nodes and instances."))
