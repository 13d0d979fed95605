"""Images with masks, which have a class for each pixel: in folders, and generated."""
