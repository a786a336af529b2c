"""Texts compared and judged by their words."""
