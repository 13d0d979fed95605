"""The commands of `python -m blocks`, a file each."""

from blocks.commands.common import Planner, levels, restore_the_compiler, write

__all__ = ["Planner", "levels", "restore_the_compiler", "write"]
