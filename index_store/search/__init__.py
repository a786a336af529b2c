"""What an archive asks of a vector engine, and the engine within the process."""
