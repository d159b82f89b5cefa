"""Strict fields for requests, shared by every app's API: nothing is converted, trimmed or ignored."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from drf_standardized_errors.formatter import flatten_errors
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from inventory.drift import Drift
from inventory.errors import Problem
from inventory.models import STORED_RUN_STATUSES, Health, RunStatus, StatusChange
from inventory.names import NAME_PATTERN, OPERATION_ID_PATTERN, is_name, is_operation_id
from inventory.wire.limits import MAX_CURSOR, MAX_INSTANCES, MAX_URL_LENGTH
from inventory.wire.package_urls import is_package_url

NAME_SCHEMA = {"type": "string", "pattern": f"^{NAME_PATTERN}$", "not": {"pattern": r"^(current|shared)$|\.tmp$"}}
OPERATION_ID_SCHEMA = {"type": "string", "pattern": f"^{OPERATION_ID_PATTERN}$"}
NAME_RULE = _(
    "Must be 1 to 100 letters, digits or . _ + -, starting with a letter or digit; not current, shared or *.tmp."
)


_CURSOR = re.compile(r"[0-9]{1,19}")


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses keys that it does not know: a misspelt `from_version` must not widen a rollback."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = self._unknown_keys(data)
        try:
            values = super().to_internal_value(data)
        except ValidationError as error:
            if isinstance(error.detail, dict):
                raise ValidationError({**error.detail, **unknown}) from error
            raise
        if unknown:
            raise ValidationError(unknown)
        return values

    def field_problems(self) -> list[Problem]:
        """All that is wrong with the fields of a request, each by itself; call `is_valid` before."""
        return [Problem(code=error.code, detail=error.detail, attr=error.attr) for error in flatten_errors(self.errors)]

    def valid_part(self) -> dict[str, Any]:
        """The values of those keys of a request that are valid, each by itself."""
        given: Any = self.initial_data
        part = {}
        for name, field in self.fields.items():
            if isinstance(given, Mapping) and name in given:
                with contextlib.suppress(ValidationError):
                    part[name] = _valid_part(field, given[name])
        return part

    def _unknown_keys(self, data: Any) -> dict[str, list[ErrorDetail]]:
        if not isinstance(data, Mapping):
            return {}
        known = ", ".join(self.fields)
        detail = _("There is no such key here. Known keys: %(known)s.") % {"known": known or "-"}
        return {str(key): [ErrorDetail(detail, code="unknown_field")] for key in data if key not in self.fields}


def _valid_part(field: serializers.Field[Any, Any, Any, Any], value: Any) -> Any:
    return field.valid_part(value) if isinstance(field, InstanceIdsField) else field.run_validation(value)


@extend_schema_field({"type": "string", "maxLength": 100})
class CursorField(serializers.Field[int, str, str, Any]):
    """The place in a list or a log that an answer ended at: a string that means nothing to whoever sends it back."""

    default_error_messages = {"invalid_cursor": _("Must be a cursor from an earlier answer of this call.")}

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, str) or _CURSOR.fullmatch(data) is None or int(data) > MAX_CURSOR:
            self.fail("invalid_cursor")
        return int(data)

    def to_representation(self, value: int) -> str:
        return str(value)


class StrictCharField(serializers.CharField):
    """A JSON string; numbers and booleans are refused, blanks are kept."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictBooleanField(serializers.BooleanField):
    """true or false; no word or number stands for one of them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictTimeField(serializers.DateTimeField):
    """A time with its offset, such as 2024-01-15T10:30:00Z: without one nobody knows when it is."""

    default_error_messages = {"no_offset": _("Must end with Z or an offset, as in 2024-01-15T10:30:00Z.")}

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str):
            self.fail("invalid", format="YYYY-MM-DDThh:mm:ss[.uuuuuu](Z|+hh:mm)")
        return super().to_internal_value(data)

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            self.fail("no_offset")
        return super().enforce_timezone(value)


@extend_schema_field({"type": "integer"})
class WholeNumberField(serializers.IntegerField):
    """A JSON integer: no string, no fraction, no boolean."""

    def to_internal_value(self, data: Any) -> int:
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(NAME_SCHEMA)
class NameField(StrictCharField):
    default_error_messages = {"invalid_name": NAME_RULE}

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        if not is_name(value):
            self.fail("invalid_name")
        return value


@extend_schema_field(OPERATION_ID_SCHEMA)
class OperationIdField(StrictCharField):
    default_error_messages = {
        "invalid_id": _("Must be 1 to 200 letters, digits or . _ : -, starting with a letter or digit.")
    }

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        if not is_operation_id(value):
            self.fail("invalid_id")
        return value


@extend_schema_field({"type": "string", "format": "uri", "pattern": "^(https?|s3)://", "maxLength": MAX_URL_LENGTH})
class PackageUrlField(StrictCharField):
    default_error_messages = {
        "invalid_url": _("Must be an absolute http, https or s3 URL of at most {limit} characters, percent-encoded.")
    }

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        if not is_package_url(value):
            self.fail("invalid_url", limit=MAX_URL_LENGTH)
        return value


@extend_schema_field({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"})
class Sha256Field(StrictCharField):
    default_error_messages = {"invalid_sha256": _("Must be a SHA-256 digest: 64 hexadecimal digits.")}

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data).lower()
        if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
            self.fail("invalid_sha256")
        return value


@extend_schema_field(
    {"type": "array", "items": NAME_SCHEMA, "minItems": 1, "maxItems": MAX_INSTANCES, "uniqueItems": True}
)
class InstanceIdsField(serializers.Field[tuple[str, ...], Any, Any, Any]):
    """1 to 10,000 ids. One pass: a ListField takes a fifth of a second for so many.

    Whoever looks them up (`inventory.instances.selection`) names those that are double, together with those unknown.
    """

    default_error_messages = {
        "not_a_list": _("Must be a list of instance ids."),
        "empty": _("Must name at least one instance."),
        "too_many": _("Must name at most {limit} instances."),
    }

    def to_internal_value(self, data: Any) -> tuple[str, ...]:
        if not isinstance(data, list):
            self.fail("not_a_list")
        if not data:
            self.fail("empty")
        if len(data) > MAX_INSTANCES:
            self.fail("too_many", limit=MAX_INSTANCES)
        if faults := _bad_names(data):
            raise ValidationError(faults)
        return tuple(data)

    def to_representation(self, value: Any) -> Any:
        return list(value)

    def valid_part(self, data: Any) -> tuple[str, ...]:
        """Those of the ids that are well-formed."""
        ids = data if isinstance(data, list) and len(data) <= MAX_INSTANCES else []
        return tuple(name for name in ids if is_name(name))


def _bad_names(ids: list[Any]) -> dict[str, list[ErrorDetail]]:
    return {
        str(index): [ErrorDetail(str(NAME_RULE), code="invalid_name")]
        for index, instance_id in enumerate(ids)
        if not is_name(instance_id)
    }


class NothingSerializer(StrictSerializer):
    """For calls whose path says everything."""


class ReportSerializer(StrictSerializer):
    """What a node says of an instance; at least one of the three."""

    version = NameField(required=False)
    status = serializers.ChoiceField(required=False, choices=[status.value for status in STORED_RUN_STATUSES])
    health = serializers.ChoiceField(required=False, choices=Health.values)

    def validate(self, attrs: dict[str, str]) -> dict[str, str]:
        if not attrs:
            raise ValidationError(_("Say at least one of version, status and health."), code="empty")
        return attrs


class PageSerializer(StrictSerializer):
    cursor = CursorField(required=False, help_text="`next` of a page.")
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=200)


# The answers, for the OpenAPI document; queries build them as plain dicts, and tests hold the two equal.


DRIFT_HELP = "link: `current` leads to another version than expected. process: another version runs than it leads to."


class InstanceVersionSerializer(serializers.Serializer[Any]):
    instance_id = serializers.CharField()
    version = serializers.CharField(allow_null=True, help_text="null: nothing is known to run.")
    status = serializers.ChoiceField(choices=RunStatus.choices)
    last_updated = serializers.DateTimeField()
    expected_version = serializers.CharField(allow_null=True, help_text="What the last operation brought.")
    process_version = serializers.CharField(
        allow_null=True, help_text="What the version command said; null without one."
    )
    drift = serializers.ChoiceField(choices=Drift.choices, allow_null=True, help_text=DRIFT_HELP)


class ServiceVersionsSerializer(serializers.Serializer[Any]):
    service = serializers.CharField()
    instances = InstanceVersionSerializer(many=True)
    version_summary = serializers.DictField(child=serializers.IntegerField(), help_text="Instances by version.")


class InstanceSerializer(serializers.Serializer[Any]):
    instance_id = serializers.CharField()
    host = serializers.CharField()
    port = serializers.IntegerField()
    status = serializers.ChoiceField(choices=Health.choices)
    version = serializers.CharField(allow_null=True)
    expected_version = serializers.CharField(allow_null=True, help_text="What the last operation brought.")
    process_version = serializers.CharField(
        allow_null=True, help_text="What the version command said; null without one."
    )
    drift = serializers.ChoiceField(choices=Drift.choices, allow_null=True, help_text=DRIFT_HELP)


class ServiceInstancesSerializer(serializers.Serializer[Any]):
    service = serializers.CharField()
    instances = InstanceSerializer(many=True)
    total = serializers.IntegerField()


class ChangeSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    field = serializers.ChoiceField(choices=StatusChange.Field.choices)
    old = serializers.CharField()
    new = serializers.CharField()
    operation = serializers.CharField(allow_null=True, help_text='Such as "deploy deploy-12345".')
    attempt = serializers.IntegerField(allow_null=True)
    by = serializers.CharField()
    by_kind = serializers.CharField()
    note = serializers.CharField()


class HistorySerializer(serializers.Serializer[Any]):
    instance_id = serializers.CharField()
    service = serializers.CharField()
    changes = ChangeSerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="`cursor` of the next page; null on the last.")


class ReportAnswerSerializer(serializers.Serializer[Any]):
    instance_id = serializers.CharField()
    version = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=RunStatus.choices)
    health = serializers.ChoiceField(choices=Health.choices)


class SyncAnswerSerializer(serializers.Serializer[Any]):
    service = serializers.CharField()
    status = serializers.CharField()
    message = serializers.CharField()
