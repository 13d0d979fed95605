"""The text of a model file, without a page or a built model: edits of it, and fixes of mistakes."""
