"""What a block keeps of the tokens that went by, so that the next ones need not ask for them again.

A block that moves information between tokens, or knows the place of a token, has beside `forward` a
method `step(memory, ...)` with the same inputs: what `forward` gives for the tokens that come after
those in `memory`. All steps together give what `forward` gives at once. A block without `step` is
taken to work on each token alone.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from blocks.errors import BlockError

Made = TypeVar("Made")


class StepError(BlockError):
    """A block that cannot go on token by token as it is built or called: it looks into the future,
    say.
    """


class Memory:
    """The memory of one call of one block, for tokens that come piece by piece.

    Args:
        limit: how many tokens come at most; what grows with them gets its place once.
        seen: how many tokens went by.
    """

    def __init__(self, limit: int, seen: int = 0):
        self.limit, self.seen = limit, seen
        self.grown: dict[str, tuple[Tensor, int]] = {}  # storage, and its axis of tokens
        self.states: dict[str, Tensor] = {}
        self.made: dict[str, tuple[tuple[Tensor | None, ...], object]] = {}

    def append(self, name: str, new: Tensor, axis: int) -> Tensor:
        """All tokens so far: those that went by, then `new`. A view of the storage, until the
        next step.

        Args:
            name: what it is, "keys" say.
            new: the tokens that come, (rows, ...).
            axis: the axis of tokens.

        Raises:
            StepError: more than `limit` tokens, or other calls left some out.
        """
        tokens = self.seen + new.shape[axis]
        if tokens > self.limit:
            raise StepError(
                "more tokens than the memory holds", got=f"{tokens} tokens, limit={self.limit}"
            )
        if name not in self.grown:
            if self.seen:
                raise StepError(
                    f"{name} of the tokens before are not in the memory", got=f"{self.seen} went by"
                )
            shape = list(new.shape)
            shape[axis] = self.limit
            self.grown[name] = new.new_empty(shape), axis
        storage, axis = self.grown[name]
        storage.narrow(axis, self.seen, new.shape[axis]).copy_(new)
        return storage.narrow(axis, 0, tokens)

    def get(self, name: str, first: Tensor | None = None) -> Tensor | None:
        """What was kept under a name, or `first` before anything was."""
        return self.states.get(name, first)

    def keep(self, name: str, state: Tensor) -> None:
        """Keep what the next step goes on from, (rows, ...)."""
        self.states[name] = state

    def once(self, name: str, of: tuple[Tensor | None, ...], make: Callable[[], Made]) -> Made:
        """What `make` makes, made again only where it is asked for other tensors than the last
        time.
        """
        known = self.made.get(name)
        if (
            known is not None
            and len(known[0]) == len(of)
            and all(a is b for a, b in zip(known[0], of, strict=True))
        ):
            return known[1]  # type: ignore[return-value]
        made = make()
        self.made[name] = of, made
        return made

    def reorder(self, rows: Tensor) -> None:
        """Row number i goes on from what row number `rows[i]` has seen; what `once` made belongs to
        its tensors.
        """
        for storage, axis in self.grown.values():
            past = storage.narrow(axis, 0, self.seen)
            past.copy_(past.index_select(0, rows))
        self.states = {name: state.index_select(0, rows) for name, state in self.states.items()}


def must_be_causal(causal: bool) -> None:
    """Raise a StepError where tokens may look at those that are not there yet."""
    if not causal:
        raise StepError("a token looks at those after it", got="causal=false", fits="causal=true")


def must_be_a_row(x: Tensor) -> None:
    """Raise a StepError unless x is (batch, tokens, dim)."""
    if x.dim() != 3:
        raise StepError("only a row of tokens comes token by token", got=f"x {tuple(x.shape)}")


def must_not_mask_pairs(mask: Tensor | None) -> None:
    """Raise a StepError where a mask says which token may look at which: it is made for all of them
    at once.
    """
    if mask is not None:
        raise StepError(
            "a mask of pairs is made for all tokens at once", got=f"mask {tuple(mask.shape)}"
        )


def in_order(rows: Tensor) -> bool:
    """Whether every row goes on from itself."""
    return torch.equal(rows, torch.arange(len(rows), device=rows.device))
