from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deploys', '0014_told'),
    ]

    operations = [
        migrations.AddField(
            model_name='worker',
            name='is_paused',
            field=models.BooleanField(db_default=False, default=False, verbose_name='paused'),
        ),
    ]
