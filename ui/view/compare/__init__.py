"""The query and cases side by side."""
