from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deploys', '0015_paused_worker'),
    ]

    operations = [
        migrations.AddField(
            model_name='worker',
            name='version',
            field=models.CharField(blank=True, db_default='', default='', max_length=40, verbose_name='version'),
        ),
    ]
