"""A composed model as one file of plain PyTorch."""

from blocks.graph.describe.emit.file import emit, read_header
from blocks.graph.describe.emit.source import CannotEmit

__all__ = ["CannotEmit", "emit", "read_header"]
