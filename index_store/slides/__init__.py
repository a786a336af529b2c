"""Whole slides: read in a process under limits, and the fields that are worth cutting out of them."""
