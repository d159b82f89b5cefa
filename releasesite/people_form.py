"""The forms of people and groups: a person has a role, and sees all services or some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.forms import UserCreationForm, UsernameField
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext

from inventory.models import Service
from releasesite.models import Identity, ServiceLimit

if TYPE_CHECKING:
    PersonModelForm = forms.ModelForm[User]
    AddBase = UserCreationForm[User]
    GroupModelForm = forms.ModelForm[Group]
    Groups = forms.ModelMultipleChoiceField[Group]
    Permissions = forms.ModelMultipleChoiceField[Permission]
else:
    PersonModelForm = forms.ModelForm
    AddBase = UserCreationForm
    GroupModelForm = forms.ModelForm
    Groups = Permissions = forms.ModelMultipleChoiceField

MAY = {
    "viewer": _("sees what runs where, and every log"),
    "operator": _("deploys, rolls back, stops and holds as well"),
    "admin": _("edits the inventory and the webhooks as well, here and over HTTP"),
}
ALL, SOME = "all", "some"


class RolesField(Groups):
    def label_from_instance(self, group: Group) -> str:
        return f"{group.name} — {MAY[group.name]}" if group.name in MAY else group.name


class PermissionsField(Permissions):
    """Named in the reader's language: Django keeps the names in English."""

    def label_from_instance(self, permission: Permission) -> str:
        model = permission.content_type.model_class()
        verb = permission.codename.partition("_")[0]
        verbs = {
            "add": pgettext("permission", "add"),
            "change": pgettext("permission", "change"),
            "delete": pgettext("permission", "delete"),
            "view": pgettext("permission", "see"),
        }
        return (
            permission.name
            if model is None
            else f"{capfirst(str(model._meta.verbose_name_plural))} · {verbs.get(verb, verb)}"
        )


class PersonForm(PersonModelForm):
    """limited and services are kept as a ServiceLimit: without one a person sees all services."""

    groups = RolesField(
        label=_("Role"), queryset=Group.objects.order_by("pk"), required=False, widget=forms.CheckboxSelectMultiple,
        help_text=_("Without one of the three roles nothing can be seen at all."),
    )  # fmt: skip
    limited = forms.ChoiceField(
        label=_("Services"),
        choices=((ALL, _("All, future ones included")), (SOME, _("Only those that are ticked"))),
        initial=ALL,
        widget=forms.RadioSelect(attrs={"class": "radiolist"}),
        help_text=_("Others can then not be found, neither here nor over HTTP. A superuser is never limited."),
    )
    services = forms.ModelMultipleChoiceField(
        label=_("Ticked services"), queryset=Service.objects.all(), required=False, widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = User
        fields = ("username", "first_name", "last_name", "email", "is_active", "is_superuser", "groups")
        field_classes = {"username": UsernameField}
        help_texts = {
            "username": _("To log in with: letters, digits and `@ . + - _`, at most 150."),
            "is_active": _("Untick it to keep somebody out; the history keeps the name."),
            "is_superuser": _("May do everything, and edits users, groups and tokens."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limit = ServiceLimit.objects.filter(user=self.instance).first() if self.instance.pk else None
        if limit is not None:
            self.initial.update(limited=SOME, services=list(limit.services.all()))
        if self.instance.pk and Identity.objects.filter(user=self.instance).exists():
            self._leave_to_the_provider()

    def _leave_to_the_provider(self) -> None:
        """What it sets at each login can't be set here: it would last until then, and mislead."""
        fields = ["first_name", "last_name", "email", "is_superuser", "groups"]
        if settings.OIDC is not None and settings.OIDC.services_claim:
            fields += ["limited", "services"]
        for name in fields:
            if name in self.fields:
                self.fields[name].disabled = True
                self.fields[name].help_text = _("The identity provider says it, at each login.")

    def save_limit(self) -> None:
        """Once the person is saved."""
        if self.cleaned_data["limited"] == ALL:
            ServiceLimit.objects.filter(user=self.instance).delete()
            return
        limit, _made = ServiceLimit.objects.get_or_create(user=self.instance)
        limit.services.set(self.cleaned_data["services"])


class NewPersonForm(PersonForm, AddBase):
    """With a first password."""

    class Meta(PersonForm.Meta):
        pass


class GroupForm(GroupModelForm):
    permissions = PermissionsField(
        label=_("Permissions"),
        queryset=Permission.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_(
            "In the admin, for those of the group who have the role admin as well. A group alone lets nobody in."
        ),
    )

    class Meta:
        model = Group
        fields = ("name", "permissions")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offered are those that a page of the admin asks for, and whatever the group has already."""
        super().__init__(*args, **kwargs)
        shown = ContentType.objects.get_for_models(*admin.site._registry, for_concrete_models=False).values()
        own = Q(group=self.instance) if self.instance.pk else Q()
        offered = Permission.objects.filter(Q(content_type__in=list(shown)) | own).select_related("content_type")
        self.fields["permissions"].queryset = offered.distinct()  # type: ignore[attr-defined]
