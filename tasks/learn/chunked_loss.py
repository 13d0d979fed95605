"""Cross-entropy over a vocabulary without ever holding all logits.

The logits of a vocabulary are by far the largest tensor of a language model, and autograd would
keep three of their size. Here the head and the loss are one step: a piece of the rows at a time,
and its gradient at once, while it is in the cache. Places without a label cost nothing.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from blocks.graph import Headless, linear, split_head
from tasks.data.sequences.base import IGNORED

PIECE = 7_000_000  # logits at a time: 28 MB in float32, which fits the caches of a larger processor
LARGE_PIECE = 2**27  # elsewhere: 0.5 GB; a GPU would wait for Python between small pieces


@dataclass(frozen=True)
class Judged:
    """What became of a batch.

    Args:
        loss: the mean cross-entropy of the places that have a label; 0 where none has one.
        right: (batch, tokens), where the label is what `argmax` of the logits gives; False where
            there is no label.
    """

    loss: Tensor
    right: Tensor


class VocabularyLoss:
    """Cross-entropy of a network's logits; where its head is a linear layer, together with the
    head.

    Args:
        network: gives logits (batch, tokens, vocab), or a mapping with "logits".
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.parts: Headless | None = split_head(network)
        weight = None if self.parts is None else self.parts.head.weight
        found = [
            module for module in network.modules() if callable(getattr(module, "lookup", None))
        ]
        self.tied: list[Any] = [
            module for module in found if getattr(module, "weight", None) is weight
        ]

    def __deepcopy__(self, memo: dict[int, Any]) -> "VocabularyLoss":
        return VocabularyLoss(
            copy.deepcopy(self.network, memo)
        )  # the copy is cut again: it shares the copy's modules

    def __call__(
        self, inputs: Mapping[str, Tensor], label: Tensor, label_smoothing: float = 0.0
    ) -> Judged:
        if (
            self.parts is None or type(self.parts.head.weight) is not nn.Parameter
        ):  # weights in shards
            result = self.network(**inputs)
            return whole(
                result["logits"] if isinstance(result, Mapping) else result, label, label_smoothing
            )
        head = self.parts.head
        table = Table(head.weight)
        with table.lent_to(self.tied):
            hidden = self.parts.body(**inputs)
        return in_pieces(hidden, table, head.bias, label, label_smoothing)


class Table:
    """The weight of a head within one call, and its gradient, to which tied embeddings add the rows
    they looked up.

    Left to autograd, each of them would make a gradient as large as the whole table, to be added to
    that of the head.

    Args:
        weight: (vocab, dim).
    """

    def __init__(self, weight: Tensor):
        self.weight = weight.view_as(
            weight
        )  # of this call alone, so that nobody else adds to what arrives at it
        self.gradient: Tensor | None = (
            None  # what the head has handed to autograd in the backward pass
        )

    @contextmanager
    def lent_to(self, embeddings: list[Any]) -> Iterator[None]:
        """Within, they look up in this table."""
        for embedding in embeddings:
            vars(embedding)["lookup"] = partial(self.lookup, embedding.padding)
        try:
            yield
        finally:
            for embedding in embeddings:
                vars(embedding).pop("lookup", None)

    def lookup(self, padding: int | None, ids: Tensor) -> Tensor:
        return _Lookup.apply(ids, self.weight, padding, self)


class _Lookup(torch.autograd.Function):
    """Rows of a table. They are looked up before the head is asked, so their backward comes
    after that of the head.
    """

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding: int | None, table: Table) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.padding, ctx.table = padding, table
        return F.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (ids,), whole = ctx.saved_tensors, ctx.table.gradient
        rows = ids.flatten()
        if ctx.padding is not None:
            upstream = upstream.masked_fill((ids == ctx.padding)[..., None], 0.0)
        if whole is None:
            whole = upstream.new_zeros(ctx.table.weight.shape)
            return None, whole.index_add_(0, rows, upstream.flatten(0, -2)), None, None
        whole.index_add_(0, rows, upstream.flatten(0, -2))
        return None, None, None, None


def whole(logits: Tensor, label: Tensor, label_smoothing: float = 0.0) -> Judged:
    """The loss of logits (batch, tokens, vocab) that are there."""
    options: dict[str, Any] = {"ignore_index": IGNORED, "label_smoothing": label_smoothing}
    total = F.cross_entropy(logits.flatten(0, -2), label.flatten(), reduction="sum", **options)
    return Judged(total / (label != IGNORED).sum().clamp_min(1), logits.argmax(-1) == label)


def in_pieces(
    hidden: Tensor, table: Table, bias: Tensor | None, label: Tensor, label_smoothing: float = 0.0
) -> Judged:
    """The loss of hidden (batch, tokens, dim) under a head: its table (vocab, dim), `bias`
    (vocab).
    """
    rows, wanted, asked = hidden.flatten(0, -2), label.flatten(), None
    if label.device.type == "cpu":  # elsewhere the number of places would have to be waited for
        asked = (wanted != IGNORED).nonzero()[:, 0]
        if len(asked) < len(wanted):
            rows, wanted = rows.index_select(0, asked), wanted.index_select(0, asked)
    loss, right = _Pieces.apply(rows, table.weight, bias, wanted, label_smoothing, table)
    if len(right) < label.numel():
        right = right.new_zeros(label.numel()).index_copy_(0, asked, right)
    return Judged(loss, right.view(label.shape))


def first_highest(logits: Tensor, label: Tensor, wanted: Tensor, others: Tensor) -> Tensor:
    """Whether `argmax` of logits (vocab, rows) gives the label, which of equal logits takes the
    first.

    On a CPU `argmax` over the first axis takes seven times as long as `amax`, so it is asked about
    ties only.
    """
    right, tied = wanted > others, (wanted == others).nonzero()[:, 0]
    if len(tied):
        right[tied] = logits[:, tied].argmax(0) == label[0, tied]
    return right


class _Pieces(torch.autograd.Function):
    """Head, softmax and cross-entropy, with the gradients made on the way forward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        label: Tensor,
        smoothing: float,
        table: Table,
    ) -> tuple[Tensor, Tensor]:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        with torch.autocast(kind, enabled=False):
            work = _Work(hidden, weight, bias, label, smoothing, dtype, ctx.needs_input_grad)
            loss, right = work.run()
        ctx.gradients, ctx.table = (work.by_hidden, work.by_weight, work.by_bias), table
        ctx.mark_non_differentiable(right)
        return loss, right

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError(
                "the gradients of this loss were handed out already; ask for the loss again"
            )
        made, ctx.gradients = ctx.gradients, None
        if upstream.device.type != "cpu" or upstream != 1:
            made = tuple(None if each is None else each.mul_(upstream) for each in made)
        ctx.table.gradient = made[1]
        return *made, None, None, None


class _Work:
    """The loop over pieces of the rows, and its sums.

    Logits stand as (vocab, rows), not the other way round: the product of a large and a small
    matrix is a third faster on a CPU when the large one stands first. Softmax is exp(logit -
    highest) / total; the division is left to the small factors of the products.
    """

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        label: Tensor,
        smoothing: float,
        dtype: torch.dtype,
        needs: tuple[bool, ...],
    ):
        self.hidden, self.weight, self.bias, self.smoothing = (
            hidden.to(dtype),
            weight.to(dtype),
            bias,
            smoothing,
        )
        self.kind = torch.promote_types(dtype, torch.float32)  # of what is summed
        self.real = label != IGNORED
        self.label = label.clamp_min(0)
        self.count = self.real.sum().clamp_min(1)
        self.by_hidden = torch.empty_like(hidden) if needs[0] else None
        self.by_weight = torch.empty_like(weight) if needs[1] else None
        self.by_bias = torch.zeros_like(bias) if bias is not None and needs[2] else None

    def run(self) -> tuple[Tensor, Tensor]:
        """The mean loss, and where the label is what `argmax` gives."""
        piece = PIECE if self.hidden.device.type == "cpu" else LARGE_PIECE
        most = max(piece // len(self.weight) // 32, 1) * 32
        losses, right = [], []
        for start in range(0, max(len(self.hidden), 1), most):
            loss, best = self.piece(slice(start, start + most))
            losses.append(loss)
            right.append(best)
        return torch.stack(losses).sum() / self.count, torch.cat(right)

    def piece(self, rows: slice) -> tuple[Tensor, Tensor]:
        hidden, label, real = self.hidden[rows], self.label[None, rows], self.real[rows]
        logits = linear(self.weight, hidden).to(self.kind)
        if self.bias is not None:
            logits.add_(self.bias[:, None])
        wanted, highest, right = self.judge(logits, label)
        loss = -(1 - self.smoothing) * wanted
        if self.smoothing:
            loss -= self.smoothing * logits.mean(0)
        total = logits.sub_(highest).exp_().sum(0)
        loss += highest + total.log()
        if self.by_hidden is not None or self.by_weight is not None:
            self.gradient(rows, hidden, logits, label, total, real)
        return (loss * real).sum(), right & real

    def judge(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The logit of each label, the highest logit, and whether `argmax` gives the label."""
        if logits.device.type != "cpu":
            highest, best = logits.max(0)  # of equal logits the first, as `argmax`
            return logits.gather(0, label)[0], highest, best == label[0]
        wanted, others = self.apart(logits, label)
        return wanted, torch.maximum(wanted, others), first_highest(logits, label, wanted, others)

    @staticmethod
    def apart(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """The logit of each label, and the highest of all other tokens; one walk through the
        logits.
        """
        wanted = logits.gather(0, label)
        others = logits.scatter_(0, label, -torch.inf).amax(0)
        logits.scatter_(0, label, wanted)
        return wanted[0], others

    def gradient(
        self,
        rows: slice,
        hidden: Tensor,
        powers: Tensor,
        label: Tensor,
        total: Tensor,
        real: Tensor,
    ) -> None:
        """Add what these rows say: softmax less the target, times what stands on the other side of
        the product.
        """
        error = powers.scatter_add_(0, label, total[None] * (self.smoothing - 1))
        if self.smoothing:
            error.sub_(total * (self.smoothing / len(error)))
        share = real.to(total.dtype) / (total * self.count)
        if self.by_bias is not None:
            self.by_bias += error @ share
        error = error.to(hidden.dtype)
        if self.by_hidden is not None:
            self.by_hidden[rows] = (error.t() @ self.weight) * share[:, None]
        if self.by_weight is not None:
            scaled = (hidden * share[:, None]).to(hidden.dtype)
            self.add_to_weight(error, scaled, first=rows.start == 0)

    def add_to_weight(self, error: Tensor, scaled: Tensor, first: bool) -> None:
        assert self.by_weight is not None
        if error.dtype != self.by_weight.dtype:
            product = error @ scaled
            self.by_weight.copy_(product) if first else self.by_weight.add_(product)
        elif first:
            torch.mm(error, scaled, out=self.by_weight)
        else:
            self.by_weight.addmm_(error, scaled)
