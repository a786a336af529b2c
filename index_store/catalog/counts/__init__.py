"""How much an archive holds: counted from the rows, and kept in a table that follows every change."""
