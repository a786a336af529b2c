"""Images generated from a report as queries: their site checked, near duplicates reported."""
