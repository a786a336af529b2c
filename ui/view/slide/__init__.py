"""Whole slides in the view: opened at a place, searched by, and where a result's fields lie on them."""
