"""Bringing a published encoder in: any layout of the field becomes a folder that works offline."""
