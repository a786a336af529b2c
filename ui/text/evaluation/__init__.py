"""An evaluation, and a comparison of encoders, in words and tables."""
