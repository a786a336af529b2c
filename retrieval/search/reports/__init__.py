"""The archive's reports, compared with a text."""
