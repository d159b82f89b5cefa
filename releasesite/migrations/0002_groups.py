"""The groups that people are put into: viewer, operator, admin (`releasesite.api.people`)."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.management import create_permissions
from django.db import migrations

READ_IN_ADMIN = ("inventory", "deploys", "rollbacks")
# People, their limits and tokens are for superusers: whoever edits those can give himself everything.
EDIT_IN_ADMIN = ("service", "node", "instance")


def make_groups(apps: Any, schema_editor: Any) -> None:
    groups = apps.get_model("auth", "Group").objects
    for name in ("viewer", "operator"):
        groups.get_or_create(name=name)
    admin, _ = groups.get_or_create(name="admin")
    _make_permissions(apps)
    permissions = apps.get_model("auth", "Permission").objects
    for label in READ_IN_ADMIN:
        admin.permissions.add(*permissions.filter(content_type__app_label=label, codename__startswith="view_"))
    edited = permissions.filter(content_type__app_label="inventory", content_type__model__in=EDIT_IN_ADMIN)
    admin.permissions.add(*edited)


def _make_permissions(apps: Any) -> None:
    """Django makes them after all migrations only; the group needs them now."""
    for label in READ_IN_ADMIN:
        app = apps.get_app_config(label)
        app.models_module = True
        create_permissions(app, apps=apps, verbosity=0)
        app.models_module = None


class Migration(migrations.Migration):
    dependencies = [
        ("releasesite", "0001_tokens_and_limits"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("deploys", "0001_initial"),
        ("rollbacks", "0001_initial"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
