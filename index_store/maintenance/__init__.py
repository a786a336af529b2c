"""Status, doctor, backup and restore."""
