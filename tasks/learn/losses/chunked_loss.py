"""Cross-entropy over a vocabulary without ever holding all logits.

The logits of a vocabulary are by far the largest tensor of a language model, and autograd would
keep three of their size. Here the head and the loss are one step, computed for a chunk of the rows
at a time together with its gradient, while the chunk is in the cache. Tokens without a label cost
nothing.

`torch.nn.functional.linear_cross_entropy` is not used: it gives no accuracy, torch 2.11 does not
have it, and in torch 2.13 on two cores it takes 3.0 s where this takes 0.67 s (1024 rows of width
384, 50257 tokens, with gradients).
"""

import copy
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from blocks.graph import Headless, is_compiled, linear, split_head
from blocks.graph.run.replace import convert
from tasks.data.sequences.base import IGNORED

CHUNK = 7_000_000  # logits at a time: 28 MB in float32, which fits the caches of a larger processor
LARGE_CHUNK = 2**27  # elsewhere: 0.5 GB; a GPU would wait for Python between small chunks
COMPILED_CHUNK = 2**28  # 0.5 GB in bfloat16: no logits in float32 are kept


@dataclass(frozen=True)
class TokenLoss:
    """The loss of a batch.

    Args:
        loss: the mean cross-entropy of the tokens that have a label; 0 where none has one.
        correct: (batch, tokens), whether `argmax` of the logits gives the label; False where there
            is no label.
    """

    loss: Tensor
    correct: Tensor


class VocabularyLoss:
    """Cross-entropy of a network's logits, computed in chunks where its head is a linear layer.

    Args:
        network: returns logits (batch, tokens, vocab), or a mapping with "logits".
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.parts: Headless | None = split_head(network)
        self.embeddings: list[Any] = []
        self.compiled: bool | None = None  # like the network, which is compiled after this is made
        if self.parts is not None:
            self.embeddings = _replace_tied(self.parts)

    def __deepcopy__(self, memo: dict[int, Any]) -> "VocabularyLoss":
        # the parts of the copy have to share the modules of the copied network
        return VocabularyLoss(copy.deepcopy(self.network, memo))

    def __call__(
        self, inputs: Mapping[str, Tensor], label: Tensor, label_smoothing: float = 0.0
    ) -> TokenLoss:
        # the type differs where the weights are sharded
        if self.parts is None or type(self.parts.head.weight) is not nn.Parameter:
            result = self.network(**inputs)
            logits = result["logits"] if isinstance(result, Mapping) else result
            return loss_of_logits(logits, label, label_smoothing)
        if self.compiled is None:
            self.compiled = self._compile_like_network(self.parts)
        head = self.parts.head
        table = Table(head.weight)
        with table.used_by(self.embeddings):
            hidden = self.parts.body(**inputs)
        compiled = self.compiled and hidden.device.type != "cpu"
        return loss_in_chunks(hidden, table, head.bias, label, label_smoothing, compiled)

    def _compile_like_network(self, parts: Headless) -> bool:
        """Compile the body if the network is compiled as a whole; return whether it is at all."""
        if self.network._compiled_call_impl is not None:
            parts.body.compile(dynamic=False)
        return is_compiled(self.network)


def _replace_tied(parts: Headless) -> list[Any]:
    """Replace the embeddings of the body that are tied to its head, and return the replacements.

    The network keeps its own. An embedding inside another body is left to autograd.
    """
    replaced = []
    for name, module in parts.body._modules.items():
        is_embedding = module is not None and callable(getattr(module, "lookup", None))
        if is_embedding and module.weight is parts.head.weight:  # type: ignore[union-attr]
            tied = convert(module, _make_tied_class(type(module)))  # type: ignore[arg-type]
            parts.body._modules[name] = tied
            replaced.append(tied)
    return replaced


def _make_tied_class(kind: type[nn.Module]) -> type[nn.Module]:
    """Make the class of an embedding that looks up in the table of the present call."""

    class TiedEmbedding(kind):  # type: ignore[misc]
        table: Table

        def lookup(self, ids: Tensor) -> Tensor:
            return self.table.lookup(self.padding, ids)

    return TiedEmbedding


class Table:
    """The weight of a head within one call, and its gradient, to which tied embeddings add the rows
    that they looked up.

    Left to autograd, each embedding would make a gradient as large as the table, to be added to
    that of the head.

    Args:
        weight: (vocab, dim).
    """

    def __init__(self, weight: Tensor):
        # a view, so that only this call adds to the gradient that arrives at it
        self.weight = weight.view_as(weight)
        self.gradient: Tensor | None = None  # what the backward pass of the head returned

    @contextmanager
    def used_by(self, embeddings: list[Any]) -> Iterator[None]:
        """Let embeddings look up in this table within."""
        for embedding in embeddings:
            embedding.table = self
        try:
            yield
        finally:
            for embedding in embeddings:
                del embedding.table

    def lookup(self, padding: int | None, ids: Tensor) -> Tensor:
        return _Lookup.apply(ids, self.weight, padding, self)


class _Lookup(torch.autograd.Function):
    """Rows of a table. They are looked up before the head runs, so their backward pass comes after
    that of the head.
    """

    @staticmethod
    def forward(ctx: Any, ids: Tensor, weight: Tensor, padding: int | None, table: Table) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.padding, ctx.table = padding, table
        return F.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (ids,), gradient = ctx.saved_tensors, ctx.table.gradient
        rows = ids.flatten()
        if ctx.padding is not None:
            upstream = upstream.masked_fill((ids == ctx.padding)[..., None], 0.0)
        if gradient is None:
            gradient = upstream.new_zeros(ctx.table.weight.shape)
            return None, gradient.index_add_(0, rows, upstream.flatten(0, -2)), None, None
        gradient.index_add_(0, rows, upstream.flatten(0, -2))
        return None, None, None, None


def loss_of_logits(logits: Tensor, label: Tensor, label_smoothing: float = 0.0) -> TokenLoss:
    """Return the loss of logits (batch, tokens, vocab)."""
    options: dict[str, Any] = {"ignore_index": IGNORED, "label_smoothing": label_smoothing}
    total = F.cross_entropy(logits.flatten(0, -2), label.flatten(), reduction="sum", **options)
    mean = total / (label != IGNORED).sum().clamp_min(1)
    return TokenLoss(mean, logits.argmax(-1) == label)


def loss_in_chunks(
    hidden: Tensor,
    table: Table,
    bias: Tensor | None,
    label: Tensor,
    label_smoothing: float = 0.0,
    compiled: bool = False,
) -> TokenLoss:
    """Return the loss of hidden (batch, tokens, dim) under a head.

    Args:
        table: weight (vocab, dim) of the head.
        bias: (vocab) of the head.
        compiled: what lies between the products is compiled; for a GPU, which passes over the
            logits three times then, and not nine.
    """
    rows, targets, labelled = hidden.flatten(0, -2), label.flatten(), None
    if label.device.type == "cpu":  # a GPU would have to be waited for
        labelled = (targets != IGNORED).nonzero()[:, 0]
        if len(labelled) < len(targets):
            rows = rows.index_select(0, labelled)
            targets = targets.index_select(0, labelled)
    chunks = CompiledChunks if compiled else _Chunks
    loss, correct = _ChunkedLoss.apply(
        rows, table.weight, bias, targets, label_smoothing, table, chunks
    )
    if len(correct) < label.numel():
        correct = correct.new_zeros(label.numel()).index_copy_(0, labelled, correct)
    return TokenLoss(loss, correct.view(label.shape))


def is_argmax(logits: Tensor, label: Tensor, at_label: Tensor, others: Tensor) -> Tensor:
    """Return whether `argmax` of logits (vocab, rows) gives the label; of equal logits it gives the
    first.

    On a CPU `argmax` over the first axis takes seven times as long as `amax`, so it is computed for
    ties only.
    """
    correct, tied = at_label > others, (at_label == others).nonzero()[:, 0]
    if len(tied):
        correct[tied] = logits[:, tied].argmax(0) == label[0, tied]
    return correct


class _ChunkedLoss(torch.autograd.Function):
    """Head, softmax and cross-entropy, with the gradients computed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        label: Tensor,
        smoothing: float,
        table: Table,
        kind_of_chunks: "type[_Chunks]",
    ) -> tuple[Tensor, Tensor]:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        with torch.autocast(kind, enabled=False):
            needs = ctx.needs_input_grad
            chunks = kind_of_chunks(hidden, weight, bias, label, smoothing, dtype, needs)
            loss, correct = chunks.run()
        ctx.gradients, ctx.table = (chunks.by_hidden, chunks.by_weight, chunks.by_bias), table
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError(
                "the gradients of this loss were used already; compute the loss again"
            )
        gradients, ctx.gradients = ctx.gradients, None
        if upstream.device.type != "cpu" or upstream != 1:
            for gradient in gradients:
                if gradient is not None:
                    gradient.mul_(upstream)
        ctx.table.gradient = gradients[1]
        return *gradients, None, None, None, None


class _Chunks:
    """The loop over chunks of the rows, and its sums.

    Logits are (vocab, rows), not the other way round: the product of a large and a small matrix is
    a third faster on a CPU with the large one first. Softmax is exp(logit - highest) / total; the
    small factors of the products are divided, not the exponentials.
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
        self.hidden = hidden.to(dtype)
        self.weight = weight.to(dtype)
        self.bias, self.smoothing = bias, smoothing
        self.sum_dtype = torch.promote_types(dtype, torch.float32)
        self.labelled = label != IGNORED
        self.label = label.clamp_min(0)
        self.count = self.labelled.sum().clamp_min(1)
        self.by_hidden = torch.empty_like(hidden) if needs[0] else None
        self.by_weight = torch.empty_like(weight) if needs[1] else None
        self.by_bias = torch.zeros_like(bias) if bias is not None and needs[2] else None

    def run(self) -> tuple[Tensor, Tensor]:
        """Return the mean loss, and where `argmax` gives the label."""
        most = max(self.largest // len(self.weight) // 32, 1) * 32
        count = max(len(self.hidden), 1)
        size = self.divide(count, most)
        losses, correct = [], []
        for start in range(0, count, size):
            loss, found = self.run_chunk(slice(start, start + size))
            losses.append(loss)
            correct.append(found)
        return torch.stack(losses).sum() / self.count, torch.cat(correct)

    @property
    def largest(self) -> int:
        """Logits of a chunk, at most."""
        return CHUNK if self.hidden.device.type == "cpu" else LARGE_CHUNK

    def divide(self, count: int, most: int) -> int:
        """Return the rows of a chunk: as many as there may be; the last may have fewer."""
        return most

    def run_chunk(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Return the summed loss of some rows and where they are correct; add their gradients."""
        hidden, label, labelled = self.hidden[rows], self.label[None, rows], self.labelled[rows]
        logits = linear(self.weight, hidden).to(self.sum_dtype)
        if self.bias is not None:
            logits.add_(self.bias[:, None])
        at_label, highest, correct = self.compare(logits, label)
        loss = -(1 - self.smoothing) * at_label
        if self.smoothing:
            loss -= self.smoothing * logits.mean(0)
        total = logits.sub_(highest).exp_().sum(0)
        loss += highest + total.log()
        if self.by_hidden is not None or self.by_weight is not None:
            self.add_gradients(rows, logits, total)
        return (loss * labelled).sum(), correct & labelled

    def compare(self, logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logit of each label, the highest logit, and whether `argmax` gives the
        label.
        """
        if logits.device.type != "cpu":
            highest, best = logits.max(0)  # of equal logits the first, as `argmax`
            return logits.gather(0, label)[0], highest, best == label[0]
        # the highest of all other tokens, in one pass over the logits
        at_label = logits.gather(0, label)
        others = logits.scatter_(0, label, -torch.inf).amax(0)
        logits.scatter_(0, label, at_label)
        at_label = at_label[0]
        highest = torch.maximum(at_label, others)
        return at_label, highest, is_argmax(logits, label, at_label, others)

    def add_gradients(self, rows: slice, exponentials: Tensor, total: Tensor) -> None:
        """Add the gradients of some rows: softmax less the target, times the other factor of each
        product.
        """
        label = self.label[None, rows]
        error = exponentials.scatter_add_(0, label, total[None] * (self.smoothing - 1))
        if self.smoothing:
            error.sub_(total * (self.smoothing / len(error)))
        share = self.labelled[rows].to(total.dtype) / (total * self.count)
        if self.by_bias is not None:
            self.by_bias += error @ share
        self.add_products(rows, error.to(self.hidden.dtype), share)

    def add_products(self, rows: slice, error: Tensor, share: Tensor) -> None:
        """Add the gradients of some rows of the hidden tensor, and of the weight."""
        hidden = self.hidden[rows]
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


class CompiledChunks(_Chunks):
    """The same, with what lies between the products compiled.

    All chunks are of one size, or two, and each size is compiled once.
    """

    largest = COMPILED_CHUNK

    def divide(self, count: int, most: int) -> int:
        """Return the rows of a chunk: nearly as many in each, by 32."""
        return -(-count // math.ceil(count / most) // 32) * 32

    def run_chunk(self, rows: slice) -> tuple[Tensor, Tensor]:
        label, labelled = self.label[rows], self.labelled[rows]
        logits = linear(self.weight, self.hidden[rows])
        loss, correct, highest, total = compile_once(measure_logits)(
            logits, self.bias, label, self.smoothing, self.sum_dtype
        )
        if self.by_hidden is not None or self.by_weight is not None:
            share = labelled.to(total.dtype) / (total * self.count)
            error = compile_once(find_error)(
                logits, self.bias, label, highest, total, self.smoothing
            )
            if self.by_bias is not None:
                self.by_bias += error.to(share.dtype) @ share
            self.add_products(rows, error, share)
        return (loss * labelled).sum(), correct & labelled


def measure_logits(
    logits: Tensor, bias: Tensor | None, label: Tensor, smoothing: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return of logits (vocab, rows) without their bias, by row: the loss, whether `argmax` gives
    the label, the highest logit, and the sum of the exponentials of what is below it.
    """
    logits = logits.to(dtype)
    if bias is not None:
        logits = logits + bias[:, None]
    highest = logits.amax(0)
    total = (logits - highest).exp().sum(0)
    number = torch.arange(len(logits), device=logits.device)[:, None]
    first = torch.where(logits == highest, number, len(logits)).amin(0)  # of equal ones the first
    loss = highest + total.log() - (1 - smoothing) * logits.gather(0, label[None])[0]
    if smoothing:
        loss = loss - smoothing * logits.mean(0)
    return loss, first == label, highest, total


def find_error(
    logits: Tensor,
    bias: Tensor | None,
    label: Tensor,
    highest: Tensor,
    total: Tensor,
    smoothing: float,
) -> Tensor:
    """Return the gradient of the logits (vocab, rows) times `total`, in the dtype of the logits."""
    values = logits.to(total.dtype)
    if bias is not None:
        values = values + bias[:, None]
    number = torch.arange(len(logits), device=logits.device)[:, None]
    error = (values - highest).exp() - total * (smoothing / len(logits))
    error = torch.where(number == label, error - total * (1 - smoothing), error)
    return error.to(logits.dtype)


@functools.cache
def compile_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a compiled function: the same for every loss."""
    return torch.compile(function, dynamic=False)
