"""Looks into the networks of runs, in a process of its own."""
