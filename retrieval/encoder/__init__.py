"""The encoder (open_clip): from images and texts to unit vectors, cached."""
