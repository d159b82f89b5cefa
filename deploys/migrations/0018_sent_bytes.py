from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deploys', '0017_database_seal'),
    ]

    operations = [
        migrations.AddField(
            model_name='target',
            name='sent_bytes',
            field=models.BigIntegerField(blank=True, editable=False, null=True, verbose_name='bytes sent'),
        ),
        migrations.AddField(
            model_name='target',
            name='full_bytes',
            field=models.BigIntegerField(blank=True, editable=False, null=True, verbose_name='bytes of the full release'),
        ),
    ]
