"""A whole slide as a query: its options, how it is read, and how many vectors rank patients."""
