"""When what an operation's status shows of an instance last changed, kept by the database, where no code path can forget it.

Reports of health, syncs that find nothing new and the like do not count.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models

TRIGGERS = """
CREATE FUNCTION inventory_instance_shown() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.shown_xid := pg_current_xact_id()::text::bigint;
    RETURN NEW;
END $$;

CREATE TRIGGER instance_shown BEFORE UPDATE ON inventory_instance FOR EACH ROW
    WHEN ((OLD.running_version, OLD.instance_id, OLD.service_id)
        IS DISTINCT FROM (NEW.running_version, NEW.instance_id, NEW.service_id))
    EXECUTE FUNCTION inventory_instance_shown();

CREATE FUNCTION inventory_instance_lost() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE inventory_service SET has_lost_instances = true WHERE id = OLD.service_id AND NOT has_lost_instances;
    RETURN NULL;
END $$;

CREATE TRIGGER instance_lost AFTER UPDATE OF service_id ON inventory_instance FOR EACH ROW
    WHEN (OLD.service_id IS DISTINCT FROM NEW.service_id)
    EXECUTE FUNCTION inventory_instance_lost();
"""

DROP = """
DROP TRIGGER instance_lost ON inventory_instance;
DROP TRIGGER instance_shown ON inventory_instance;
DROP FUNCTION inventory_instance_lost();
DROP FUNCTION inventory_instance_shown();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("inventory", "0016_tally")]
    operations: ClassVar = [
        migrations.AddField("instance", "shown_xid", models.BigIntegerField(db_default=0, default=0, editable=False)),
        migrations.AddField(
            "service", "has_lost_instances", models.BooleanField(db_default=False, default=False, editable=False)
        ),
        migrations.AddIndex(
            "instance", models.Index(fields=["service", "shown_xid"], name="instance_service_shown_xid")
        ),
        migrations.RunSQL(TRIGGERS, DROP),
    ]
