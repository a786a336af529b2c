"""Pictures by URL, for the viewer: of the archive, of uploads, and whole slides as tiles."""
