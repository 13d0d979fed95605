"""Parts of attention and of recurrences beside the same written out."""
