"""Reviews in the view: the tray beside the search, and the page of one review."""
