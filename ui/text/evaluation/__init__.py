"""Measurements in words and tables: evaluations, comparisons of encoders, reader studies, synthetic sets."""
