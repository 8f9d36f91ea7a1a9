"""The schema of the audit trail in PostgreSQL, step by step (Alembic); nothing else in the project uses SQLAlchemy."""
