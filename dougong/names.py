"""What `import dougong` offers to Python: names of `blocks.graph`, imported when they are used."""

import importlib
from typing import Any

from dougong.packages import use_own_packages

OFFERED = {
    "build": "blocks.graph",
    "compose": "blocks.graph",
    "plan": "blocks.graph",
    "inspect_attention": "blocks.graph",
    "verify_incremental": "blocks.graph",
    "IncrementalModel": "blocks.graph",
    "ConfigError": "blocks.graph",
    "BlockError": "blocks.errors",
    "catalog": "blocks.catalog",
}

use_own_packages()


def load(name: str) -> Any:
    """Return what a name stands for.

    Raises:
        AttributeError: Dougong does not offer it.
    """
    if name not in OFFERED:
        raise AttributeError(f"module 'dougong' has no attribute {name!r}")
    return getattr(importlib.import_module(OFFERED[name]), name)
