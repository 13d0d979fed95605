"""Images with a caption each."""
