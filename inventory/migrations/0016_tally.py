"""Counting must not wait for the disk; after a crash of PostgreSQL it begins from zero, which Prometheus understands."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0015_retired")]

    operations = [
        migrations.CreateModel(
            name="Tally",
            fields=[
                ("key", models.CharField(max_length=300, primary_key=True, serialize=False, verbose_name="key")),
                ("value", models.FloatField(verbose_name="value")),
            ],
            options={"verbose_name": "tally", "verbose_name_plural": "tallies"},
        ),
        migrations.RunSQL("ALTER TABLE inventory_tally SET UNLOGGED", "ALTER TABLE inventory_tally SET LOGGED"),
    ]
