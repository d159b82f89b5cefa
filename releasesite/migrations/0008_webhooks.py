"""Who edits the inventory edits the webhooks, and reads what was sent."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations


def permit(apps: Any, schema_editor: Any) -> None:
    # Django makes permissions after all migrations only; the group needs them now.
    app = apps.get_app_config("deploys")
    app.models_module = True
    create_permissions(app, apps=apps, verbosity=0)
    app.models_module = None
    admin, _ = apps.get_model("auth", "Group").objects.get_or_create(name="admin")
    permissions = apps.get_model("auth", "Permission").objects.filter(content_type__app_label="deploys")
    admin.permissions.add(*permissions.filter(content_type__model="webhook"))
    admin.permissions.add(*permissions.filter(codename="view_webhookdelivery"))


class Migration(migrations.Migration):
    dependencies = [("releasesite", "0007_inventory_scope"), ("deploys", "0011_webhooks")]

    operations = [migrations.RunPython(permit, migrations.RunPython.noop)]
