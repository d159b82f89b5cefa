"""Counting a request must not wait for the disk; after a crash of PostgreSQL the counts start anew, which is fine."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("releasesite", "0002_groups")]

    operations = [
        migrations.RunSQL(
            "ALTER TABLE releasesite_requestcount SET UNLOGGED",
            "ALTER TABLE releasesite_requestcount SET LOGGED",
        )
    ]
