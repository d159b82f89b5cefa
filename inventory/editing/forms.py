"""The admin's forms of the inventory. Values are checked by the models' own rules, these add those that span rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.translation import gettext_lazy as _

from inventory.editing.edit_checks import (
    Placed,
    check_instance_move,
    check_node_move,
    check_roots,
    check_service_rename,
)
from inventory.models import Instance, Node, Service

if TYPE_CHECKING:
    ServiceModelForm = forms.ModelForm[Service]
    NodeModelForm = forms.ModelForm[Node]
    InstanceModelForm = forms.ModelForm[Instance]
else:
    ServiceModelForm = NodeModelForm = InstanceModelForm = forms.ModelForm


class ServiceForm(ServiceModelForm):
    class Meta:
        model = Service
        exclude: tuple[str, ...] = ()
        widgets = {  # Django's own way
            "restart_command": forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
            "before_switch_command": forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
            "signing_key": forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        check_service_rename(self.instance, self.changed_data)
        return cleaned


class NodeForm(NodeModelForm):
    class Meta:
        model = Node
        exclude: tuple[str, ...] = ()
        widgets = {  # Django's own way
            "ssh_host_key": forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors:
            place = {key: cleaned[key] for key in ("host", "transport", "ssh_port")}
            check_node_move(Node(pk=self.instance.pk, **place), self.changed_data)
        return cleaned


class InstanceForm(InstanceModelForm):
    class Meta:
        model = Instance
        exclude: tuple[str, ...] = ()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        placed = self.placed()
        if placed is not None:
            check_instance_move(self.instance.pk, self.changed_data)
            check_roots([placed])
        return cleaned

    def placed(self) -> Placed | None:
        """Where it is to live, or None while that is not known for sure."""
        wanted = self.cleaned_data
        if not all(wanted.get(key) for key in ("instance_id", "node", "deploy_root")):
            return None
        return Placed(
            pk=self.instance.pk,
            instance_id=wanted["instance_id"],
            node=wanted["node"],
            deploy_root=wanted["deploy_root"],
        )


class HostKeyForm(forms.Form):
    """Where to fetch a host key from."""

    host = forms.CharField(label=_("Host"), max_length=253)
    ssh_port = forms.IntegerField(label=_("Port"), min_value=1, max_value=65_535, initial=22)


class InventoryFileForm(forms.Form):
    """An inventory file to be looked at before it is brought in."""

    file = forms.FileField(label=_("Inventory file"), help_text=_("YAML: services, nodes and instances."))
