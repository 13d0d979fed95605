"""Answers again whenever a file changes, and for other processes: `python -m blocks watch`."""
