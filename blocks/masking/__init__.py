"""Tokens that are hidden at random, and restored."""
