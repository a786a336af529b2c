"""Files of weights: fetched, checked, read one tensor at a time, and their names in single-file checkpoints."""
