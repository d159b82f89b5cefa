from django.db import migrations, models


class Migration(migrations.Migration):
    """Target.version_after, which nothing read, leaves the code; its column stays for one more release.

    Workers and web of the old code go on beside the new: they name the column in their INSERTs and read it with every
    target, so that it can't be dropped yet. The new code leaves it out, which only a default of the database's allows.
    Once no old code runs any more, a later migration may drop the column.
    """

    dependencies = [
        ("deploys", "0004_signatures"),
    ]

    operations = [
        migrations.AlterField(
            model_name="target",
            name="version_after",
            field=models.CharField(blank=True, db_default="", default="", max_length=100, verbose_name="version after"),
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveField(model_name="target", name="version_after")],
        ),
    ]
