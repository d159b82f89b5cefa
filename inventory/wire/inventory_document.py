"""The entries of the inventory document (CONTRACT.md, "Inventory file"), the same from YAML and from JSON.

Keys and types alone, and nothing is converted: what a value may be, the models say.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from inventory.validation import is_storable
from inventory.wire.serializers import StrictSerializer


class Typed(serializers.Field[Any, Any, Any, Any]):
    """A value of exactly this type, kept as it is."""

    wanted: type = object
    default_error_messages = {
        "required": _("is missing"),
        "null": _("has no value; leave the key out or give one"),
    }

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not self.wanted:
            self.fail("wrong_type")
        return data

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(str)
class Text(Typed):
    wanted = str
    default_error_messages = {
        "wrong_type": _("must be text"),
        "invalid": _("must not contain NUL or invalid characters"),
    }

    def to_internal_value(self, data: Any) -> Any:
        if not is_storable(super().to_internal_value(data)):
            self.fail("invalid")
        return data


@extend_schema_field(int)
class WholeNumber(Typed):
    wanted = int
    default_error_messages = {"wrong_type": _("must be an integer")}


@extend_schema_field(bool)
class Truth(Typed):
    wanted = bool
    default_error_messages = {"wrong_type": _("must be true or false")}


class ServiceEntry(StrictSerializer):
    name = Text()
    restart_command = Text(required=False)
    before_switch_command = Text(required=False)
    command_timeout = WholeNumber(required=False)
    version_command = Text(required=False)
    version_timeout = WholeNumber(required=False)
    keep_releases = WholeNumber(required=False)
    staged_days = WholeNumber(required=False)
    mutable_versions = Truth(required=False)
    require_sha256 = Truth(required=False)
    signing_key = Text(required=False)
    zip_names = Text(required=False)
    sync_enabled = Truth(required=False)


class JumpHostEntry(StrictSerializer):
    name = Text()
    host = Text()
    ssh_user = Text()
    ssh_port = WholeNumber(required=False)
    ssh_host_key = Text()
    jump = Text(required=False)


class NodeEntry(StrictSerializer):
    name = Text()
    host = Text()
    transport = Text(required=False)
    ssh_user = Text(required=False)
    ssh_port = WholeNumber(required=False)
    ssh_host_key = Text(required=False)
    delivery = Text(required=False)
    jump = Text(required=False)
    jump_socket = Text(required=False)


class InstanceEntry(StrictSerializer):
    instance_id = Text()
    service = Text()
    node = Text()
    port = WholeNumber()
    deploy_root = Text()


class InventoryDocument(StrictSerializer):
    """For the OpenAPI document; `inventory.editing.file.read_json` reads it, and finds every fault."""

    services = ServiceEntry(many=True, required=False)
    jump_hosts = JumpHostEntry(many=True, required=False)
    nodes = NodeEntry(many=True, required=False)
    instances = InstanceEntry(many=True, required=False)


class InventoryQuery(StrictSerializer):
    dry_run = serializers.ChoiceField(
        required=False,
        default="false",
        choices=["true", "false"],
        help_text="true: say what would change, change nothing.",
    )


class FieldChange(serializers.Serializer[Any]):
    field = serializers.CharField()
    old = serializers.CharField(help_text="At most 60 characters; of a host key, its fingerprint.")
    new = serializers.CharField()


class RowChange(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=["service", "jump_host", "node", "instance"])
    name = serializers.CharField()
    outcome = serializers.ChoiceField(choices=["created", "updated"])
    changes = FieldChange(many=True)


class InventoryChanges(serializers.Serializer[Any]):
    created = serializers.IntegerField()
    updated = serializers.IntegerField()
    unchanged = serializers.IntegerField()
    dry_run = serializers.BooleanField(help_text="true: this is what would be done; nothing has changed.")
    rows = RowChange(many=True, help_text="What was created or updated, and how.")
