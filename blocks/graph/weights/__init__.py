"""Files of others -> parameters."""

from blocks.graph.weights.file import save_weights
from blocks.graph.weights.load import Report, load_weights
from blocks.graph.weights.names import read_map

__all__ = ["Report", "load_weights", "read_map", "save_weights"]
