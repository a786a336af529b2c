"""The ways to rank an archive's patients; a new one is a module here and a line in `registry`."""
