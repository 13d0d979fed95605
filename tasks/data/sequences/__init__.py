"""Sequences that are not text: signals and recall."""
