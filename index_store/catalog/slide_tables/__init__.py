"""Whole slides in the records: planned, cut into fields, and stored with them."""
