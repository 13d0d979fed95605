"""What leaves the page: figures, files, links."""
