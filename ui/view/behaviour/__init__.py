"""What the page does in the browser by itself."""
