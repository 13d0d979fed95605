"""The mathematics: tensors in, tensors out. `blocks.graph` puts blocks together from YAML."""
