"""The commands of `python -m blocks`, a file each."""

from blocks.commands.common import (
    Planner,
    add_entry,
    add_no_server,
    choose_part,
    levels,
    plan_composed_loss,
    write,
)

__all__ = [
    "Planner",
    "add_entry",
    "add_no_server",
    "choose_part",
    "levels",
    "plan_composed_loss",
    "write",
]
