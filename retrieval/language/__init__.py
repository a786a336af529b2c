"""What a report says: labels, negation, specimen, the vocabulary of reporting systems, BM25."""
