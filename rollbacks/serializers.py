"""Requests for rollbacks, and their answers for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from deploys.web.api.serializers import (
    ChangedDeploySerializer,
    DeployStatusSerializer,
    DeploySummarySerializer,
    ReasonField,
)
from inventory.errors import InvalidRequest, with_others
from inventory.security.access import Access
from inventory.wire.serializers import (
    InstanceIdsField,
    NameField,
    OperationIdField,
    PackageUrlField,
    StrictBooleanField,
    StrictSerializer,
)
from rollbacks.services import (
    BatchRollbackRequest,
    InstanceRollbackRequest,
    batch_rollback_problems,
    instance_rollback_problems,
)

HOLD_HELP = "Hold the service, too: no deploy of it starts after this call's 202, until the hold is released."


class InstanceRollbackSerializer(StrictSerializer):
    """A rollback of one instance as asked for."""

    instance_id = NameField()
    target_version = NameField(required=False, help_text="Left out: the version it ran before.")
    package_url = PackageUrlField(required=False)
    rollback_id = OperationIdField(required=False, help_text="Makes the call safe to repeat; left out, one is made.")
    reason = ReasonField()
    hold = StrictBooleanField(required=False, default=False, help_text=HOLD_HELP)

    def to_request(self, access: Access) -> InstanceRollbackRequest:
        """Raises InvalidRequest with all that is wrong: with each key, and with what the keys name."""
        if self.is_valid():
            return InstanceRollbackRequest(**self.validated_data)
        named = self.valid_part().get("instance_id", "")
        others = instance_rollback_problems(access, instance_id=named)
        raise InvalidRequest(problems=with_others(self.field_problems(), others))


class BatchRollbackSerializer(StrictSerializer):
    """A rollback of many instances as asked for."""

    service = NameField()
    target_version = NameField()
    package_url = PackageUrlField(required=False)
    instances = InstanceIdsField(
        required=False, help_text="Left out: every instance that does not run the target version."
    )
    from_version = NameField(required=False, help_text="Only instances that run this version.")
    rollback_id = OperationIdField(required=False, help_text="Makes the call safe to repeat; left out, one is made.")
    reason = ReasonField()
    hold = StrictBooleanField(required=False, default=False, help_text=HOLD_HELP)

    def to_request(self, access: Access) -> BatchRollbackRequest:
        """As with one instance."""
        if self.is_valid():
            return BatchRollbackRequest(**self.validated_data)
        part = self.valid_part()
        judged = {key: part[key] for key in ("service", "instances") if key in part}
        raise InvalidRequest(problems=with_others(self.field_problems(), batch_rollback_problems(access, **judged)))


class StartedInstanceRollbackSerializer(serializers.Serializer[Any]):
    rollback_id = serializers.CharField()
    instance_id = serializers.CharField()
    target_version = serializers.CharField()
    status = serializers.ChoiceField(choices=["started"])
    message = serializers.CharField()
    started_at = serializers.DateTimeField()


class StartedBatchRollbackSerializer(serializers.Serializer[Any]):
    rollback_id = serializers.CharField()
    service = serializers.CharField()
    target_version = serializers.CharField()
    status = serializers.ChoiceField(choices=["started"])
    instances = serializers.ListField(child=serializers.CharField())
    message = serializers.CharField()
    started_at = serializers.DateTimeField()


class ChangedRollbackSerializer(ChangedDeploySerializer):
    deploy_id = None  # type: ignore[assignment]  # DRF's way to drop an inherited field
    rollback_id = serializers.CharField()


class RollbackSummarySerializer(DeploySummarySerializer):
    deploy_id = None  # type: ignore[assignment]
    rollback_id = serializers.CharField()
    target_version = serializers.CharField()


class RollbackStatusSerializer(DeployStatusSerializer):
    deploy_id = None  # type: ignore[assignment]
    rollback_id = serializers.CharField()
    target_version = serializers.CharField()


class RollbackListSerializer(serializers.Serializer[Any]):
    rollbacks = RollbackSummarySerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="`cursor` of the next page; null on the last.")
