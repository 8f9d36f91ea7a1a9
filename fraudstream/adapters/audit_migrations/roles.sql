-- The three roles of the audit trail, and its schema. Run by `fraudstream audit migrate`, or beforehand by whoever may
-- create roles (psql -f roles.sql); what is there already is left as it is. None of them can log in: give your own
-- login roles membership, such as GRANT fraudstream_audit_writer TO sink.
--   fraudstream_audit_owner   owns the tables: migrations and retention, nothing else
--   fraudstream_audit_writer  the sink: adds rows, never changes or removes one
--   fraudstream_audit_reader  analysts, console, verification: reads
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['fraudstream_audit_owner', 'fraudstream_audit_writer', 'fraudstream_audit_reader']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', role_name);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL; -- another database of this cluster was faster
            END;
        END IF;
    END LOOP;
    IF NOT pg_has_role(current_user, 'fraudstream_audit_owner', 'MEMBER') THEN
        EXECUTE format('GRANT fraudstream_audit_owner TO %I', current_user);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'fraudstream_audit') THEN
        CREATE SCHEMA fraudstream_audit AUTHORIZATION fraudstream_audit_owner;
    END IF;
    -- The sink stages each batch in a temporary table.
    IF NOT has_database_privilege('fraudstream_audit_writer', current_database(), 'TEMPORARY') THEN
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO fraudstream_audit_writer', current_database());
    END IF;
END
$$;
