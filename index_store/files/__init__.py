"""Image files: decoded under limits, stripped of metadata, stored by content; the writer's lock."""
