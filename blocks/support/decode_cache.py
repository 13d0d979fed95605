"""What a block keeps of past tokens in incremental decoding.

A block that moves information between tokens, or depends on the position of a token, has beside
`forward` a method `step(cache, ...)` with the same inputs. It returns what `forward` returns for
the tokens after those in `cache`; all steps together return what one `forward` returns. A block
without `step` is assumed to work on each token alone.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from blocks.errors import BlockError

T = TypeVar("T")


class StepError(BlockError):
    """A block cannot process tokens in pieces as it is built or called, e.g. because it is not
    causal.
    """


class DecodeCache:
    """The cache of one call of one block.

    Args:
        limit: the largest number of tokens; storage for them is allocated once.
        seen: the number of past tokens.
        several: the number of consecutive rows that have the same values of the inputs that do not
            grow, e.g. of the beams of a source.
    """

    def __init__(self, limit: int, seen: int = 0, several: int = 1):
        self.limit, self.seen, self.several = limit, seen, several
        self.grown: dict[str, tuple[Tensor, int]] = {}  # storage, and its axis of tokens
        self.recent: dict[str, int] = {}  # of those that keep the last tokens only: how many
        self.states: dict[str, Tensor] = {}
        self.made: dict[str, tuple[tuple[Tensor | None, ...], object]] = {}

    def append(self, name: str, new: Tensor, axis: int, reach: int | None = None) -> Tensor:
        """Append new tokens, and return all tokens so far: a view that is valid until the next
        step.

        Args:
            name: a name of the caller's choice, e.g. "keys".
            new: the new tokens, (rows, ...).
            axis: the axis of tokens.
            reach: how many past tokens are returned before the new ones; None for all. Storage is
                then for twice as many, whatever the limit.

        Raises:
            StepError: more than `limit` tokens, or a call without the past tokens.
        """
        tokens = self.seen + new.shape[axis]
        if tokens > self.limit:
            raise StepError(
                "more tokens than the cache has room for",
                got=f"{tokens} tokens, limit={self.limit}",
            )
        if name not in self.grown:
            if self.seen:
                raise StepError(
                    f"{name} of the past tokens are not in the cache",
                    got=f"{self.seen} past tokens",
                )
            shape = list(new.shape)
            shape[axis] = self.limit
            if reach is not None and 2 * reach < self.limit:
                shape[axis] = max(2 * reach, 1)
                self.recent[name] = 0
            self.grown[name] = new.new_empty(shape), axis
        if name in self.recent:
            return self._append_recent(name, new, reach or 0)
        storage, axis = self.grown[name]
        storage.narrow(axis, self.seen, new.shape[axis]).copy_(new)
        if reach is not None:
            tokens = min(tokens, reach + new.shape[axis])
        return storage.narrow(axis, self.seen + new.shape[axis] - tokens, tokens)

    def _append_recent(self, name: str, new: Tensor, reach: int) -> Tensor:
        """Append where only the last tokens are kept; they move to the front when room runs out."""
        storage, axis = self.grown[name]
        held, count = self.recent[name], new.shape[axis]
        past = storage.narrow(axis, max(held - reach, 0), min(held, reach))
        if held + count <= storage.shape[axis]:
            storage.narrow(axis, held, count).copy_(new)
            self.recent[name] = held + count
            return storage.narrow(axis, max(held - reach, 0), min(held, reach) + count)
        together = torch.cat((past, new), axis)
        kept = min(together.shape[axis], reach)
        storage.narrow(axis, 0, kept).copy_(
            together.narrow(axis, together.shape[axis] - kept, kept)
        )
        self.recent[name] = kept
        return together

    def get(self, name: str, first: Tensor | None = None) -> Tensor | None:
        """Return the state kept under a name, or `first` before any was."""
        return self.states.get(name, first)

    def keep(self, name: str, state: Tensor) -> None:
        """Keep a state for the next step, (rows, ...)."""
        self.states[name] = state

    def once(self, name: str, of: tuple[Tensor | None, ...], make: Callable[[], T]) -> T:
        """Return what `make` returns; call it again only when the tensors `of` are others than at
        the last call.
        """
        known = self.made.get(name)
        if known is not None and list(map(id, known[0])) == list(map(id, of)):
            return known[1]  # type: ignore[return-value]
        made = make()
        self.made[name] = of, made
        return made

    def reaches(self, tokens: int) -> bool:
        """Return whether what follows the first `tokens` tokens can be computed: where only the
        last tokens are kept, whether those before are still there.
        """
        for name, held in self.recent.items():
            storage, axis = self.grown[name]
            reach = storage.shape[axis] // 2
            if held - (self.seen - tokens) < min(reach, tokens):
                return False
        return True

    def rewind(self, tokens: int, states: dict[str, Tensor]) -> None:
        """Forget all but the first tokens, after which the states were `states`."""
        for name, held in self.recent.items():
            self.recent[name] = max(held - (self.seen - tokens), 0)
        self.seen, self.states = tokens, dict(states)

    def move(self, rows: Tensor, sources: Tensor, begin: int = 0) -> None:
        """Let row `rows[i]` continue row `sources[i]`, and the others themselves; what `once` made
        belongs to its tensors, and stays.

        Args:
            rows: (moved rows,), each once.
            sources: (moved rows,).
            begin: the tokens before this one are the same in a row and in its source.
        """
        for name, (storage, axis) in self.grown.items():
            if name in self.recent:
                past = storage.narrow(axis, 0, self.recent[name])
            else:
                past = storage.narrow(axis, begin, self.seen - begin)
            past.index_copy_(0, rows, past.index_select(0, sources))
        for name, state in self.states.items():
            self.states[name] = state.index_copy(0, rows, state.index_select(0, sources))


def must_be_causal(causal: bool) -> None:
    """Raise a StepError where tokens may attend to later ones."""
    if not causal:
        raise StepError(
            "a token attends to the tokens after it", got="causal=false", fits="causal=true"
        )


def must_be_a_row(x: Tensor) -> None:
    """Raise a StepError unless x is (batch, tokens, dim)."""
    if x.dim() != 3:
        raise StepError("only a sequence of tokens has steps", got=f"x {tuple(x.shape)}")


def must_not_mask_pairs(mask: Tensor | None) -> None:
    """Raise a StepError for a mask of pairs of tokens, which covers the whole sequence."""
    if mask is not None:
        raise StepError(
            "a mask of pairs covers all tokens at once", got=f"mask {tuple(mask.shape)}"
        )


def in_order(rows: Tensor) -> bool:
    """Return whether every row continues itself."""
    return torch.equal(rows, torch.arange(len(rows), device=rows.device))
