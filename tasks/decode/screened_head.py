"""The most likely token of a large vocabulary without all logits in float32.

The product with the head is computed in 8-bit integers first, exactly but for the rounding of its
operands. What rounding can change is bounded by the Cauchy-Schwarz inequality, for each token: with
w' and h' the rounded operands, |w h - w' h'| <= |w - w'| |h| + |w'| |h - h'|. Only tokens that may
have the largest logit under this bound are computed in float32, mostly some tens.
"""

import platform
from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.decode.search import PIECE, find_largest, mask_forbidden

# Multiply-adds of a product with the head. Below, the search among the tokens takes longer than
# what it saves.
MIN_PRODUCT = 2**24
MOST = 512  # candidates of a row on average; with more, the logits of all tokens are computed
PATIENCE = 4  # so often in a row, then this is not tried again
LEVELS = 63  # of the input to both sides of 0: two products of 7 and 8 bits fit 16 with sign
SMALLEST = 1e-30
# Of the sums in float32, here and in the product that this stands for.
ROUNDING = 1e-6
AVAILABLE = (
    platform.machine() in ("x86_64", "AMD64")
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.onednn, "qlinear_pointwise")
)


class ScreenedHeads:
    """The head of a network, with its weights in 8 bits as long as they stay the same."""

    def __init__(self) -> None:
        self.weight: tuple[Any, ...] = ()  # what the screened head was made of
        self.screened: ScreenedHead | None = None
        self.failed = 0  # in a row

    def choose(self, head: nn.Linear, hidden: Tensor, forbidden: Collection[int]) -> Tensor:
        """Return the token with the largest logit of each row, (rows,).

        Args:
            head: of the network.
            hidden: its input, (rows, dim).
            forbidden: tokens that are never chosen.
        """
        if self.failed < PATIENCE and can_screen(head, hidden, forbidden):
            weight = head.weight
            state = (id(weight), weight.data_ptr(), weight._version)
            if self.screened is None or self.weight != state:
                self.screened, self.weight = ScreenedHead(weight.detach()), state
            tokens = self.screened.choose(hidden, forbidden)
            if tokens is not None:
                self.failed = 0
                return tokens
            self.failed += 1
        return find_largest(mask_forbidden(head(hidden), forbidden))


class ScreenedHead:
    """A head in 8 bits, in pieces of `PIECE` tokens.

    Args:
        weight: (vocab, dim), float32; it is read again for the candidates.
    """

    def __init__(self, weight: Tensor):
        self.weight = weight
        vocab, dim = weight.shape
        self.padded = F.pad(torch.zeros(vocab), (0, -vocab % PIECE), value=-torch.inf)
        scale = weight.abs().amax(1).clamp_min(SMALLEST) / 127
        numbers = (weight / scale[:, None]).round()
        rounded = numbers * scale[:, None]
        size = rounded.norm(dim=1)
        # what rounding moves: for each unit of the input, and for each unit of its own rounding
        self.error = self._cut((weight - rounded).norm(dim=1) + ROUNDING * size)
        self.size = self._cut(size)
        self.errors, self.sizes = self.error.amax(1), self.size.amax(1)
        self.scale = F.pad(scale, (0, -vocab % PIECE), value=1.0)
        self.zero = torch.zeros(len(self.scale), dtype=torch.int32)
        # inputs are shifted to be positive, and pieces that are padded never win
        self.shift = self.padded - F.pad((LEVELS + 1) * rounded.sum(1), (0, -vocab % PIECE))
        integers = F.pad(numbers.to(torch.int8), (0, 0, 0, -vocab % PIECE))
        self.packed = torch.ops.onednn.qlinear_prepack(integers, None)
        self.slack = ROUNDING * 128 * dim**0.5

    def choose(self, hidden: Tensor, forbidden: Collection[int] = ()) -> Tensor | None:
        """Return the token with the largest logit of each row, (rows,), of equal ones the first;
        None where too many tokens may have it.

        Args:
            hidden: (rows, dim).
            forbidden: tokens that are never chosen, not all of them.
        """
        rows, vocab = len(hidden), len(self.weight)
        exact = hidden / (hidden.abs().amax(-1, keepdim=True).clamp_min(SMALLEST) / LEVELS)
        whole = exact.round()
        near = self._multiply(whole)
        excluded = [token for token in forbidden if 0 <= token < vocab]
        if excluded:
            near.index_fill_(-1, torch.tensor(excluded), -torch.inf)
        size = exact.norm(dim=-1, keepdim=True)
        off = (exact - whole).norm(dim=-1, keepdim=True) + self.slack
        pieces = near.unflatten(-1, (-1, PIECE))
        largest = pieces.amax(-1)
        margin = self.errors * size + self.sizes * off
        least = (largest - margin).amax(-1, keepdim=True)
        row, piece = (largest + margin >= least).nonzero(as_tuple=True)
        if len(row) > MOST * rows:
            return None
        margin = self.error[piece] * size[row] + self.size[piece] * off[row]
        which, place = (pieces[row, piece] + margin >= least[row]).nonzero(as_tuple=True)
        if len(which) > MOST * rows:
            return None
        row, token = row[which], piece[which] * PIECE + place
        return _find_best(self._score(hidden, row, token), row, token, rows)

    def _multiply(self, whole: Tensor) -> Tensor:
        """The logits but for rounding, in units of a step of each row: (rows, padded vocab)."""
        product: Tensor = torch.ops.onednn.qlinear_pointwise(
            (whole + (LEVELS + 1)).to(torch.uint8),
            1.0,
            0,
            self.packed,
            self.scale,
            self.zero,
            self.shift,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return product

    def _score(self, hidden: Tensor, row: Tensor, token: Tensor) -> Tensor:
        """The logits of some tokens in float32, (candidates,)."""
        return self.weight.index_select(0, token).mul_(hidden.index_select(0, row)).sum(-1)

    def _cut(self, of_tokens: Tensor) -> Tensor:
        """Numbers of the tokens, (vocab,), as (pieces, PIECE)."""
        return F.pad(of_tokens, (0, -len(of_tokens) % PIECE)).view(-1, PIECE)


def can_screen(head: nn.Linear, hidden: Tensor, forbidden: Collection[int]) -> bool:
    """Return whether a head can be screened, and is large enough for it."""
    weight = head.weight
    return (
        AVAILABLE
        and head.bias is None
        and hidden.device.type == "cpu"
        and hidden.dtype is weight.dtype is torch.float32
        and len(hidden) * weight.numel() >= MIN_PRODUCT
        and len(weight) >= PIECE * PIECE
        and len(forbidden) < len(weight) // 2
        and not weight.is_inference()
        and not torch.is_autocast_enabled("cpu")
    )


def _find_best(logits: Tensor, row: Tensor, token: Tensor, rows: int) -> Tensor | None:
    """Return the first token with the largest logit of each row; None where a row has none."""
    best = logits.new_full((rows,), -torch.inf).scatter_reduce_(0, row, logits, "amax")
    if not bool((best > -torch.inf).all()):
        return None
    tied = logits == best[row]
    first = token.new_full((rows,), torch.iinfo(token.dtype).max)
    return first.scatter_reduce_(0, row[tied], token[tied], "amin")
