"""Compose neural architectures from blocks in YAML, and train them.

`from dougong import build` is what `blocks.graph` offers; nothing is imported before it is named.
"""

from dougong.names import load as __getattr__

__all__ = ["__getattr__"]
