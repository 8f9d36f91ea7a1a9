"""Evidence by month and user, identities, heads of the chains, and what retention dropped; rights of the three roles.

Months come first and users within a month, because retention drops a month: one table with everything in it.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

EVIDENCE = """
CREATE TABLE fraudstream_audit.evidence (
    source_partition integer NOT NULL,
    source_offset bigint NOT NULL,
    transaction_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    event_time timestamptz NOT NULL,
    anomaly_score double precision NOT NULL,
    anomaly_type text NOT NULL,
    flagged boolean NOT NULL,
    threshold double precision NOT NULL,
    model_version text NOT NULL,
    reasons json NOT NULL,
    verdict_json bytea NOT NULL,
    transaction_json bytea NOT NULL,
    features bytea NOT NULL,
    previous_hash bytea NOT NULL,
    row_hash bytea NOT NULL,
    PRIMARY KEY (source_partition, source_offset, user_id, event_time)
) PARTITION BY RANGE (event_time)
"""

# A unique key of a partitioned table must hold its partition keys, so one row for each transaction needs a table that
# has no months.
IDENTITIES = """
CREATE TABLE fraudstream_audit.identities (
    transaction_id text COLLATE "C" NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    event_time timestamptz NOT NULL,
    PRIMARY KEY (transaction_id, user_id)
)
"""

HEADS = """
CREATE TABLE fraudstream_audit.heads (
    source_partition integer PRIMARY KEY,
    rows bigint NOT NULL,
    last_offset bigint NOT NULL,
    head_hash bytea NOT NULL
)
"""

DROPPED = """
CREATE TABLE fraudstream_audit.dropped (
    source_partition integer NOT NULL,
    first_offset bigint NOT NULL,
    last_offset bigint NOT NULL,
    rows bigint NOT NULL,
    previous_hash bytea NOT NULL,
    last_hash bytea NOT NULL,
    run_hash bytea NOT NULL,
    PRIMARY KEY (source_partition, first_offset)
)
"""

# The sink has no right to change a row, not even a head: these functions lock and move heads for it, and make months.
TAKE_HEADS = """
CREATE FUNCTION fraudstream_audit.take_heads(partitions integer[]) RETURNS SETOF fraudstream_audit.heads
LANGUAGE plpgsql SECURITY DEFINER SET search_path = fraudstream_audit, pg_temp AS $$
BEGIN
    INSERT INTO heads
        SELECT one, 0, -1, decode(repeat('00', 32), 'hex') FROM unnest(partitions) AS one ORDER BY one
        ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT * FROM heads WHERE source_partition = ANY (partitions) ORDER BY source_partition FOR UPDATE;
END
$$
"""

MOVE_HEAD = """
CREATE FUNCTION fraudstream_audit.move_head(
    head_partition integer, expected_hash bytea, new_rows bigint, new_offset bigint, new_hash bytea
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = fraudstream_audit, pg_temp AS $$
BEGIN
    UPDATE heads SET rows = new_rows, last_offset = new_offset, head_hash = new_hash
        WHERE source_partition = head_partition AND head_hash = expected_hash
            AND new_rows > rows AND new_offset > last_offset;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the chain of partition % was extended by another sink', head_partition
            USING ERRCODE = 'serialization_failure';
    END IF;
END
$$
"""

# Made apart and then attached, which does not wait for readers of the whole table as CREATE ... PARTITION OF does.
MAKE_MONTHS = """
CREATE FUNCTION fraudstream_audit.make_months(months date[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = fraudstream_audit, pg_temp SET TimeZone = 'UTC' AS $$
DECLARE
    month_start timestamptz;
    month_name text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('fraudstream_audit.make_months'));
    FOR month_start IN SELECT DISTINCT date_trunc('month', one)::timestamptz FROM unnest(months) AS one ORDER BY 1
    LOOP
        IF month_start < '2000-01-01' OR month_start >= '2100-01-01' THEN
            RAISE EXCEPTION 'expected a month from 2000-01 to 2099-12, got %', to_char(month_start, 'YYYY-MM');
        END IF;
        month_name := 'evidence_' || to_char(month_start, 'YYYYMM');
        CONTINUE WHEN to_regclass(format('fraudstream_audit.%I', month_name)) IS NOT NULL;
        EXECUTE format(
            'CREATE TABLE %I (LIKE evidence INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY HASH (user_id)',
            month_name);
        FOR part IN 0..3
        LOOP
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES WITH (MODULUS 4, REMAINDER %s)',
                month_name || '_' || part, month_name, part);
        END LOOP;
        EXECUTE format(
            'ALTER TABLE evidence ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            month_name, month_start, month_start + interval '1 month');
    END LOOP;
END
$$
"""

STATEMENTS = (
    EVIDENCE,
    "CREATE INDEX evidence_of_user ON fraudstream_audit.evidence (user_id, event_time)",
    IDENTITIES,
    HEADS,
    DROPPED,
    TAKE_HEADS,
    MOVE_HEAD,
    MAKE_MONTHS,
    "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA fraudstream_audit FROM PUBLIC",
    "GRANT USAGE ON SCHEMA fraudstream_audit TO fraudstream_audit_writer, fraudstream_audit_reader",
    "GRANT SELECT ON ALL TABLES IN SCHEMA fraudstream_audit TO fraudstream_audit_writer, fraudstream_audit_reader",
    "GRANT INSERT ON fraudstream_audit.evidence, fraudstream_audit.identities TO fraudstream_audit_writer",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fraudstream_audit TO fraudstream_audit_writer",
)


def upgrade() -> None:
    """Applies the step."""
    for statement in STATEMENTS:
        op.execute(statement)
