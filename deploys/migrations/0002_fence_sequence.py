from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("deploys", "0001_initial")]

    operations = [
        # One sequence for the whole system: a claim's token must be higher than every earlier claim's on that node.
        migrations.RunSQL("CREATE SEQUENCE deploys_fence AS bigint", "DROP SEQUENCE deploys_fence"),
    ]
