"""The inventory as CSV, in and out, under the same rules as everywhere."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from import_export import fields, resources, widgets

from inventory.actors import SYSTEM, Actor
from inventory.editing.edit_checks import (
    Placed,
    check_instance_move,
    check_node_move,
    check_roots,
    check_service_rename,
)
from inventory.editing.relocation import lock_inventory, save_instance
from inventory.models import Instance, Node, Service


class InventoryResource(resources.ModelResource):  # type: ignore[misc]  # import-export has no types
    """actor: in whose name rows are changed; the import passes it on."""

    def __init__(self, *, actor: Actor = SYSTEM, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.actor = actor

    def before_import(self, dataset: Any, **kwargs: Any) -> None:
        lock_inventory()
        unknown = sorted(set(dataset.headers or ()) - {field.column_name for field in self.get_import_fields()})
        if unknown:
            raise ValidationError(f"unknown columns: {', '.join(unknown)}")

    def validate_instance(
        self, instance: Any, import_validation_errors: Any = None, validate_unique: bool = True
    ) -> None:
        super().validate_instance(instance, import_validation_errors, validate_unique)
        self.check(instance, self.changed(instance))

    def check(self, instance: Any, changed: set[str]) -> None:
        """The rules that span rows."""

    def changed(self, instance: Any) -> set[str]:
        """The fields that differ from the stored row; none for a new one."""
        stored = type(instance)._default_manager.filter(pk=instance.pk).first()
        if stored is None:
            return set()
        names = {field.attribute for field in self.get_import_fields()}
        return {name for name in names if getattr(instance, name) != getattr(stored, name)}

    def do_instance_save(self, instance: Any, is_create: bool) -> None:
        if is_create:
            instance.save(force_insert=True)
        elif changed := self.changed(instance):
            instance.save(update_fields=changed)


class Options:
    """What the three have in common."""

    clean_model_instances = True
    skip_unchanged = True
    report_skipped = True
    use_transactions = True


class ServiceResource(InventoryResource):
    class Meta(Options):
        model = Service
        import_id_fields = ("name",)
        fields = (
            "name",
            "restart_command",
            "before_switch_command",
            "command_timeout",
            "keep_releases",
            "mutable_versions",
            "require_sha256",
            "signing_key",
            "sync_enabled",
        )

    def check(self, instance: Any, changed: set[str]) -> None:
        check_service_rename(instance, changed)


class NodeResource(InventoryResource):
    class Meta(Options):
        model = Node
        import_id_fields = ("name",)
        fields = ("name", "host", "transport", "ssh_user", "ssh_port", "ssh_host_key", "delivery")

    def check(self, instance: Any, changed: set[str]) -> None:
        check_node_move(instance, changed)


class InstanceResource(InventoryResource):
    service = fields.Field("service", "service", widgets.ForeignKeyWidget(Service, "name"))
    node = fields.Field("node", "node", widgets.ForeignKeyWidget(Node, "name"))

    class Meta(Options):
        model = Instance
        import_id_fields = ("instance_id",)
        fields = ("instance_id", "service", "node", "port", "deploy_root")

    def check(self, instance: Any, changed: set[str]) -> None:
        check_instance_move(instance.pk, changed)
        check_roots(
            [
                Placed(
                    pk=instance.pk,
                    instance_id=instance.instance_id,
                    node=instance.node,
                    deploy_root=instance.deploy_root,
                )
            ]
        )

    def do_instance_save(self, instance: Any, is_create: bool) -> None:
        if is_create:
            instance.save(force_insert=True)
        elif changed := self.changed(instance):
            save_instance(instance, changed=changed, actor=self.actor)
