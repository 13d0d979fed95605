"""Decoding: search, scores, lines."""
