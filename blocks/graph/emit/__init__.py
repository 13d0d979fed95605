"""A composed model as one file of plain PyTorch."""

from blocks.graph.emit.file import emit, header
from blocks.graph.emit.source import CannotEmit

__all__ = ["CannotEmit", "emit", "header"]
