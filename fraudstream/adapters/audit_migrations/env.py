"""What Alembic runs: the migrations on the connection that `audit_migrate` opened, inside one transaction."""

from __future__ import annotations

from alembic import context

from fraudstream.adapters.audit_migrate import SCHEMA

context.configure(connection=context.config.attributes["connection"], version_table_schema=SCHEMA)
with context.begin_transaction():
    context.run_migrations()
