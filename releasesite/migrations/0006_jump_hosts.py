"""Who edits nodes edits the jump hosts through which they are reached."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations


def permit(apps: Any, schema_editor: Any) -> None:
    # Django makes permissions after all migrations only; the group needs them now.
    app = apps.get_app_config("inventory")
    app.models_module = True
    create_permissions(app, apps=apps, verbosity=0)
    app.models_module = None
    admin, _ = apps.get_model("auth", "Group").objects.get_or_create(name="admin")
    of_jump_hosts = {"content_type__app_label": "inventory", "content_type__model": "jumphost"}
    admin.permissions.add(*apps.get_model("auth", "Permission").objects.filter(**of_jump_hosts))


class Migration(migrations.Migration):
    dependencies = [("releasesite", "0005_limit_words"), ("inventory", "0009_jump_hosts")]

    operations = [migrations.RunPython(permit, migrations.RunPython.noop)]
