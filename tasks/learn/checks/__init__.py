"""Checks of a network before and during a training."""
