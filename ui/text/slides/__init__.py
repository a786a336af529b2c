"""What is known of whole slides, as text and JSON."""
