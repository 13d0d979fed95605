"""Sweeps: results, search, pruning, figures."""
