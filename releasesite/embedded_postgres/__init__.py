"""A PostgreSQL of our own, for when no DATABASE_URL is given."""
