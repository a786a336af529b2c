"""Synthetic data sets: planned, generated, checked for copies, and tried as training data."""
