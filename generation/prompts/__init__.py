"""A report becomes a prompt: clauses, cues, glossary, condensing, chunks."""
