"""Requests about operations, and their answers for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from deploys.error_codes import ErrorCode
from deploys.models import LogLine
from deploys.operations.retry import RetryRequest
from deploys.operations.start import DeployRequest, deploy_problems
from deploys.packages.signatures import is_signature
from deploys.states import OperationStatus, Step, TargetStatus, Until
from inventory.errors import InvalidRequest, Problem, with_others
from inventory.security.access import Access
from inventory.wire.limits import MAX_ATTEMPT, MAX_CONFIRM_SECONDS, MAX_LINES, MAX_REASON_LENGTH, MIN_CONFIRM_SECONDS
from inventory.wire.serializers import (
    CursorField,
    InstanceIdsField,
    NameField,
    OperationIdField,
    PackageUrlField,
    PageSerializer,
    Sha256Field,
    StrictCharField,
    StrictSerializer,
    WholeNumberField,
)


@extend_schema_field({"type": "string", "pattern": "^([0-9a-fA-F]{128}|[A-Za-z0-9+/]{85}[AQgw]==)$"})
class SignatureField(StrictCharField):
    default_error_messages = {"invalid_signature": "Must be an Ed25519 signature: 64 bytes in hex or base64."}

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        if not is_signature(value):
            self.fail("invalid_signature")
        return value


class ReasonField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_blank=True, max_length=MAX_REASON_LENGTH, **kwargs)


class ConfirmSerializer(StrictSerializer):
    """Which instances are kept; left out, all that wait to be confirmed."""

    instances = InstanceIdsField(required=False)


class ExecuteSerializer(StrictSerializer):
    """A deploy as asked for."""

    service = NameField()
    version = NameField()
    instances = InstanceIdsField()
    package_url = PackageUrlField()
    deploy_id = OperationIdField(required=False, help_text="Makes the call safe to repeat; left out, one is made.")
    sha256 = Sha256Field(required=False, help_text="What the package's digest must be.")
    signature = SignatureField(
        required=False,
        help_text="Of the package's digest, by the service's signing key; left out: `<package_url>.sig`.",
    )
    reason = ReasonField(help_text="Shown in the history.")
    until = serializers.ChoiceField(
        required=False,
        choices=[until.value for until in Until],
        help_text="`checked` looks only; `staged` has the release on every instance and switches none.",
    )

    confirm_within = WholeNumberField(
        required=False,
        min_value=MIN_CONFIRM_SECONDS,
        max_value=MAX_CONFIRM_SECONDS,
        help_text="Seconds. Each instance reverts by itself, on its node, unless it is confirmed within this time.",
    )

    def validate_until(self, value: str) -> Until:
        return Until(value)

    def to_request(self, access: Access) -> DeployRequest:
        """Raises InvalidRequest with all that is wrong: with each key, and with what the keys name."""
        is_valid = self.is_valid()
        part = self.validated_data if is_valid else self.valid_part()
        clash = _confirm_clash(part)
        if is_valid and not clash:
            return DeployRequest(**{"deploy_id": None, **part})
        judged = {key: part[key] for key in ("service", "instances", "sha256", "signature") if key in part}
        raise InvalidRequest(problems=with_others([*self.field_problems(), *clash], deploy_problems(access, **judged)))


def _confirm_clash(part: Mapping[str, Any]) -> list[Problem]:
    """What is not switched can't be confirmed: one problem for each of the two keys."""
    until = part.get("until", Until.SWITCHED)
    if "confirm_within" not in part or until == Until.SWITCHED:
        return []
    why = _("confirm_within is for deploys that switch, and until is '%(until)s': give one of the two.") % {
        "until": until
    }
    return [Problem(code="confirm_without_switch", detail=why, attr=attr) for attr in ("confirm_within", "until")]


class RetrySerializer(StrictSerializer):
    """What is left out stays as it was."""

    package_url = PackageUrlField(required=False, help_text="Where the package is now, or its link signed anew.")
    sha256 = Sha256Field(required=False, help_text="What the package's digest must be.")
    attempt = WholeNumberField(
        required=False,
        min_value=2,
        max_value=MAX_ATTEMPT,
        help_text="The number of the attempt that this makes, the status' `attempt` + 1. Makes the call safe to repeat.",
    )

    def to_request(self) -> RetryRequest:
        self.is_valid(raise_exception=True)
        return RetryRequest(**self.validated_data)


class StatusesField(serializers.ListField):
    child = serializers.ChoiceField(choices=OperationStatus.choices)

    def run_child_validation(self, data: Any) -> Any:
        """A bad one is the key's fault: in a query it has no number."""
        try:
            return super().run_child_validation(data)
        except serializers.ValidationError as error:
            details: Any = error.detail
            raise serializers.ValidationError([each for found in details.values() for each in found]) from error


class OperationListSerializer(PageSerializer):
    service = NameField(required=False)
    status = StatusesField(
        required=False,
        allow_empty=False,
        help_text="One status, or several: repeated, or with commas between them.",
    )
    version = NameField(required=False)
    updated_after = serializers.DateTimeField(
        required=False, help_text="Only what has changed after this time, such as 2024-01-15T10:30:00Z."
    )


class LogQuerySerializer(StrictSerializer):
    after = CursorField(required=False, default=0, help_text="`next` of an earlier answer, or a line's `cursor`.")
    limit = serializers.IntegerField(required=False, default=500, min_value=1, max_value=MAX_LINES)
    tail = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_LINES,
        help_text="The last so many lines, instead of the first `limit`.",
    )
    instance = NameField(required=False)


class StartedDeploySerializer(serializers.Serializer[Any]):
    deploy_id = serializers.CharField()
    status = serializers.ChoiceField(choices=["started"])
    message = serializers.CharField()
    started_at = serializers.DateTimeField()


class ConfirmedDeploySerializer(serializers.Serializer[Any]):
    deploy_id = serializers.CharField()
    status = serializers.ChoiceField(choices=["confirmed"])
    message = serializers.CharField()
    instances = serializers.ListField(child=serializers.CharField())


class ChangedDeploySerializer(serializers.Serializer[Any]):
    deploy_id = serializers.CharField()
    status = serializers.ChoiceField(choices=["started", "cancelling", "cancelled"])
    message = serializers.CharField()
    instances = serializers.ListField(child=serializers.CharField())


class TargetErrorSerializer(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=[code.value for code in ErrorCode])
    message = serializers.CharField()


class TargetSerializer(serializers.Serializer[Any]):
    instance_id = serializers.CharField()
    status = serializers.ChoiceField(choices=TargetStatus.choices)
    version = serializers.CharField(allow_null=True, help_text="What the instance runs now.")
    updated_at = serializers.DateTimeField()
    step = serializers.ChoiceField(choices=Step.choices)
    error = TargetErrorSerializer(
        allow_null=True, help_text="Of a failed target; of a cancelled one, when it was in the middle of its switch."
    )
    reverted = serializers.BooleanField(
        allow_null=True,
        help_text="After a restart that failed: whether the link leads to the previous release again. With the error "
        "`revert_failed` that release could not be restarted either.",
    )
    confirm_by = serializers.DateTimeField(
        allow_null=True, help_text="Until when it waits to be confirmed; null when it does not."
    )
    source = serializers.CharField(  # type: ignore[assignment]  # the answer's key, not a field's source
        allow_null=True,
        help_text="node, store, download or delta (only what differs from a release on the node was sent).",
    )
    sent_bytes = serializers.IntegerField(
        allow_null=True, help_text="What went to its node for this release; null when nothing had to."
    )
    full_bytes = serializers.IntegerField(allow_null=True, help_text="What all of the release would have been.")
    attempt = serializers.IntegerField(help_text="The attempt that this instance was last part of.")


class ProgressSerializer(serializers.Serializer[Any]):
    total = serializers.IntegerField()
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    pending = serializers.IntegerField(help_text="Everything unfinished.")
    in_progress = serializers.IntegerField(help_text="The part of it in progress now.")
    cancelled = serializers.IntegerField()


class PackageSerializer(serializers.Serializer[Any]):
    url = serializers.CharField(allow_null=True, help_text="Without userinfo and query.")
    sha256 = serializers.CharField(allow_null=True)
    size = serializers.IntegerField(allow_null=True)


class DeploySummarySerializer(serializers.Serializer[Any]):
    deploy_id = serializers.CharField()
    service = serializers.CharField()
    version = serializers.CharField()
    until = serializers.ChoiceField(choices=[until.value for until in Until], help_text="How far it goes.")
    confirm_within = serializers.IntegerField(
        allow_null=True, help_text="Seconds within which each instance is to be confirmed."
    )
    status = serializers.ChoiceField(choices=OperationStatus.choices)
    attempt = serializers.IntegerField(help_text="1, and one more with every retry.")
    progress = ProgressSerializer()
    started_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    package = PackageSerializer()
    requested_by = serializers.CharField()


class DeployStatusSerializer(DeploySummarySerializer):
    instances = TargetSerializer(many=True)


class DeployListSerializer(serializers.Serializer[Any]):
    deploys = DeploySummarySerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="`cursor` of the next page; null on the last.")


class LogLineSerializer(serializers.Serializer[Any]):
    cursor = serializers.CharField()
    at = serializers.DateTimeField()
    instance_id = serializers.CharField(allow_null=True)
    step = serializers.CharField(allow_null=True)
    stream = serializers.ChoiceField(choices=LogLine.Stream.choices)
    text = serializers.CharField()


class LogSerializer(serializers.Serializer[Any]):
    lines = LogLineSerializer(many=True)
    next = serializers.CharField(help_text="`after` of the next call.")
    finished = serializers.BooleanField(help_text="Nothing more will follow.")
    lines_deleted = serializers.IntegerField(help_text="So many of the log's first lines are no longer kept.")
