from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deploys', '0016_worker_version'),
    ]

    operations = [
        migrations.CreateModel(
            name='DatabaseSeal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('table_oid', models.BigIntegerField()),
                ('xid', models.CharField(max_length=20)),
            ],
            options={
                'verbose_name': 'identity of the database',
                'verbose_name_plural': 'identities of the database',
            },
        ),
        # As deploys.operations.restored makes it.
        migrations.RunSQL(
            "INSERT INTO deploys_databaseseal (table_oid, xid)"
            " VALUES ('deploys_databaseseal'::regclass::oid::bigint, pg_current_xact_id()::xid::text)",
            migrations.RunSQL.noop,
        ),
    ]
