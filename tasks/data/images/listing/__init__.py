"""The image files of a folder: found, packed, and kept in an index."""
