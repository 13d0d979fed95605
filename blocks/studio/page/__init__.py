"""What the browser shows: the page and its parts, its script and its style."""
