"""The records in SQL: cases, images, reports, embeddings, and the change log that every index follows."""
