"""What comes in: manifests and report tables in CSV, TSV, JSONL and spreadsheets."""
