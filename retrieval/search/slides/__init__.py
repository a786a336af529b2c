"""A whole slide as a query: what is asked of it, how it is read, and how many vectors rank patients."""
