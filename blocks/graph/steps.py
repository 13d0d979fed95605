"""How many steps a question may take: an expression can double itself forty times."""

from contextvars import ContextVar
from dataclasses import dataclass

# of all expressions, patterns and guesses of one question; swin_b, the largest model here, takes
# 9,000
STEPS = 200_000


class OutOfSteps(BaseException):
    """Ends a question at once: no handler of single mistakes takes it for one of those."""


@dataclass
class Budget:
    """How many steps are left."""

    left: int


budget: ContextVar[Budget | None] = ContextVar("budget", default=None)


def spend(steps: int) -> None:
    """Count steps against the budget of the question, where it has one; raises OutOfSteps when it
    is used up.
    """
    found = budget.get()
    if found is not None:
        found.left -= steps
        if found.left < 0:
            raise OutOfSteps
