"""Blinded reader studies: images selected, standardised, rated, and the agreement of readers."""
