"""The entries of the inventory document (CONTRACT.md, "Inventory file"), the same from YAML and from JSON.

Keys and types alone, and nothing is converted: what a value may be, the models say.
"""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

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
    default_error_messages = {"wrong_type": _("must be text")}


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
