"""The audit log: which events it holds, and its chain of hashes."""
