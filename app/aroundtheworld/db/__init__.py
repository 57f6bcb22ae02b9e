"""The database: connections, schema and queries (SQLAlchemy Core)."""
