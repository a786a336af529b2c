"""Where SQL runs: SQLite in the archive's folder or a PostgreSQL server, and the migrations of both."""
