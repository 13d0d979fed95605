"""A composed model as one file of plain PyTorch."""

from blocks.graph.describe.emit.file import emit, header
from blocks.graph.describe.emit.source import CannotEmit

__all__ = ["CannotEmit", "emit", "header"]
