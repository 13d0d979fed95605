"""All models as a folder of static pages: a list that is searched, and a page for each graph."""

from blocks.graph.describe.draw.gallery.gallery import Entry, describe_model, write_index

__all__ = ["Entry", "describe_model", "write_index"]
