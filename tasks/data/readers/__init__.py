"""Readers: raw input -> batches, for prediction."""
