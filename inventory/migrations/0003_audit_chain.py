"""The audit's chain and its append-only rule live in the database, where no code path can forget them.

The hash covers the hash before it and the entry as a JSON array; `inventory.audit` recomputes it in Python.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

# The lock makes id, hash and time come in one order for all writers; it is held until the transaction ends.
CHAIN = """
CREATE FUNCTION inventory_audit_chain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last_id bigint;
    last_hash text;
BEGIN
    PERFORM pg_advisory_xact_lock(7262645002);
    SELECT id, hash INTO last_id, last_hash FROM inventory_auditentry ORDER BY id DESC LIMIT 1;
    NEW.id := coalesce(last_id, 0) + 1;
    NEW.prev_hash := coalesce(last_hash, '');
    NEW.at := clock_timestamp();
    NEW.hash := encode(sha256(convert_to(NEW.prev_hash || jsonb_build_array(
        NEW.id, to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        NEW.actor_kind, NEW.actor_name, NEW.actor_address,
        NEW.action, NEW.object_kind, NEW.object_id, NEW.service, NEW.detail
    )::text, 'UTF8')), 'hex');
    RETURN NEW;
END $$;

CREATE TRIGGER audit_chain BEFORE INSERT ON inventory_auditentry
    FOR EACH ROW EXECUTE FUNCTION inventory_audit_chain();
"""

APPEND_ONLY = """
CREATE FUNCTION inventory_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit is append-only: % refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON inventory_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION inventory_audit_refuse();

CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON inventory_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION inventory_audit_refuse();
"""

DROP = """
DROP TRIGGER audit_no_truncate ON inventory_auditentry;
DROP TRIGGER audit_no_change ON inventory_auditentry;
DROP TRIGGER audit_chain ON inventory_auditentry;
DROP FUNCTION inventory_audit_refuse();
DROP FUNCTION inventory_audit_chain();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("inventory", "0002_value_rules_and_audit")]
    operations: ClassVar = [migrations.RunSQL(CHAIN + APPEND_ONLY, DROP)]
