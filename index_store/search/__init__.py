"""What an archive requires of a vector engine, and the engine within the process."""
