"""Edits as the audit keeps them: each changed field from what to what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Model, QuerySet
from django.forms import BaseModelForm, ModelChoiceField

from inventory.editing.file.report import shown

Changes = dict[str, list[str]]


def shown_changes(form: BaseModelForm[Any], formsets: Iterable[Any] = ()) -> dict[str, Any]:
    """Of a form and its inlines: `{field: [old, new]}`, and the inlines' by the object's name."""
    changes: dict[str, Any] = dict(_of_form(form))
    for formset in formsets:
        for obj, _fields in getattr(formset, "changed_objects", ()):
            inline = next(each for each in formset.forms if each.instance == obj)
            changes[str(obj)] = _of_form(inline)
        for obj in getattr(formset, "new_objects", ()):
            changes[str(obj)] = "new"
    return changes


def _of_form(form: BaseModelForm[Any]) -> Changes:
    return {name: [_old(form, name), _shown(name, form.cleaned_data.get(name))] for name in form.changed_data}


def _old(form: BaseModelForm[Any], name: str) -> str:
    field = form.fields.get(name)
    value = form.get_initial_for_field(field, name) if field is not None else ""
    if isinstance(field, ModelChoiceField) and isinstance(value, int):
        value = field.queryset.model._default_manager.filter(pk=value).first() if field.queryset is not None else value
    return _shown(name, value)


def _shown(name: str, value: Any) -> str:
    if "password" in name:
        return "(not kept)"
    if isinstance(value, (list, tuple, QuerySet)) and all(isinstance(each, Model) for each in value):
        return ", ".join(sorted(str(each) for each in value))
    try:
        return shown(name, "" if value is None else value)
    except ValueError:
        return "(not a key)"
