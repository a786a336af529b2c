"""Fusion rules chosen on an archive: on one half of its patients, measured on the other."""
