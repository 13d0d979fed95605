"""Checkpoints, and how a run is continued from them."""
