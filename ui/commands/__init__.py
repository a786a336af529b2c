"""The commands of `coin`, one noun a module."""
