-- Two roles for the two kinds of processes, beside the owner that migrates. Run it as the owner's superuser, in the
-- system's database, after `migrate`, and again after every upgrade; it takes away before it gives.
-- Then: \password release_web, \password release_worker.

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['release_web', 'release_worker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', role);
        END IF;
    END LOOP;
END $$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM release_web, release_worker;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM release_web, release_worker;
GRANT USAGE ON SCHEMA public TO release_web, release_worker;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO release_web, release_worker;

-- Web: people, tokens, the inventory, and what starts or stops an operation. It writes no log line, pins no package and
-- plays no worker.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO release_web;
GRANT INSERT, UPDATE, DELETE ON
    inventory_service, inventory_jumphost, inventory_node, inventory_instance,
    auth_user, auth_user_groups, auth_user_user_permissions, auth_group, auth_group_permissions,
    django_session, django_admin_log,
    axes_accessattempt, axes_accessattemptexpiration, axes_accesslog, axes_accessfailurelog,
    releasesite_apitoken, releasesite_apitoken_services, releasesite_servicelimit, releasesite_servicelimit_services,
    releasesite_identity, releasesite_requestcount
    TO release_web;
GRANT INSERT, UPDATE, DELETE ON deploys_webhook, deploys_webhook_services, deploys_webhookdelivery TO release_web;
GRANT INSERT, UPDATE ON deploys_operation, deploys_target, deploys_hold TO release_web;
GRANT INSERT ON inventory_statuschange, django_q_ormq TO release_web;
GRANT DELETE ON inventory_survey TO release_web;
REVOKE USAGE, SELECT ON SEQUENCE deploys_fence FROM release_web;

-- Worker: carries operations out. It sees no password, session or token, and changes no command, node, key or person.
GRANT SELECT ON
    inventory_service, inventory_jumphost, inventory_node, inventory_instance, inventory_survey, inventory_statuschange,
    deploys_operation, deploys_target, deploys_package, deploys_logline, deploys_lease, deploys_worker,
    deploys_hold, deploys_databaseseal, django_q_ormq, django_q_task, django_q_schedule, django_migrations, django_content_type
    TO release_worker;
GRANT INSERT, UPDATE, DELETE ON
    deploys_operation, deploys_target, deploys_package, deploys_logline, deploys_lease, deploys_worker,
    django_q_ormq, django_q_task
    TO release_worker;
GRANT UPDATE (
    running_version, running_release, running_sha256, expected_version, release_history, run_status, health, health_at,
    reported_version, reported_status, reported_at, changed_at, found_release, found_current,
    process_version
) ON inventory_instance TO release_worker;
GRANT UPDATE (synced_at, sync_queued_at, sync_started_at) ON inventory_service TO release_worker;
GRANT UPDATE (seen_at) ON inventory_node TO release_worker;
GRANT INSERT ON inventory_statuschange TO release_worker;
GRANT UPDATE (released_at, released_by, released_by_kind) ON deploys_hold TO release_worker;
GRANT INSERT, UPDATE ON inventory_survey TO release_worker;
-- It sends to webhooks and signs for them; where they are is not its to say.
GRANT SELECT ON deploys_webhook, deploys_webhook_services TO release_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON deploys_webhookdelivery TO release_worker;
GRANT UPDATE (unanswered, rests_until) ON deploys_webhook TO release_worker;
-- SIGUSR1 lets work go on in a restored database.
GRANT INSERT, DELETE ON deploys_databaseseal TO release_worker;
-- A restored database gives out claims above those that the nodes have seen.
GRANT UPDATE ON SEQUENCE deploys_fence TO release_worker;

-- What both have counted.
GRANT SELECT, INSERT, UPDATE ON inventory_tally TO release_web, release_worker;

-- The audit: both may append, its chain needs the newest row's hash, and nobody may change one.
GRANT SELECT, INSERT ON inventory_auditentry TO release_web, release_worker;
