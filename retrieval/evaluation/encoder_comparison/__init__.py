"""Two encoders compared on an archive's own cases."""
