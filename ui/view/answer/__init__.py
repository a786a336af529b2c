"""The answer to a session's query: by words at once, joined by generated images when these are ready."""
