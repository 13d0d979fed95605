"""Tables of text: delimiters, headers, columns."""
