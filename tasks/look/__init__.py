"""One input on its way through the network of a run that trains or is finished."""

from tasks.look.look import Look, Looker

__all__ = ["Look", "Looker"]
