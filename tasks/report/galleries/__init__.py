"""Galleries of images: reconstructions, and the nearest neighbours of an embedding."""
