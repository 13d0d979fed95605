"""Mixtures of experts: many weights, of which each token uses a few."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from blocks.errors import BlockError, must_be_one_of, must_be_positive
from blocks.support.decode_cache import DecodeCache, StepError

_ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "swiglu": F.silu,
    "geglu": F.gelu,
}
_CLAMPED = "clamped_swiglu"


def must_be_groups(experts: int, top: int, groups: int, top_groups: int) -> None:
    """Raise a BlockError unless a token can go to `top` experts of `top_groups` groups."""
    must_be_positive("groups", groups)
    if experts % groups or (groups > 1 and experts // groups < 2):
        fits = [count for count in range(1, experts // 2 + 1) if experts % count == 0]
        raise BlockError(
            "groups must divide experts into groups of two or more",
            got=f"groups={groups}, experts={experts}",
            fits=f"groups in {', '.join(map(str, fits[:8])) or 1}",
        )
    if not 1 <= top_groups <= groups:
        raise BlockError(
            "top_groups must be in 1..groups",
            got=f"top_groups={top_groups}, groups={groups}",
            fits=f"top_groups=1 to {groups}",
        )
    if top > top_groups * (experts // groups):
        raise BlockError(
            "top_groups hold fewer experts than top",
            got=f"top={top}, top_groups={top_groups} of {experts // groups} experts",
            fits=f"top={top_groups * (experts // groups)} or less",
        )


class MixtureOfExperts(nn.Module):
    """A router sends each token to the `top` of several MLPs and sums their outputs, weighted by
    their probabilities.

    Without `capacity` no token is dropped and none depends on the others in its batch. The work is
    done in blocks of tokens that belong to one expert: shapes depend on the number of tokens only,
    so it runs on `meta`, exports, and never waits for the device.

    With `routing: expert` each expert chooses tokens: the load is even, a token may have any number
    of experts, or none. Whether a token is chosen depends on those after it: such a layer is not
    causal, a language model with it sees what it is to predict, and `task=language` refuses it.

    In training, forward leaves `auxiliary_loss`, the load-balancing loss times `balance`; in
    evaluation it is None. Whoever trains the model adds up `auxiliary_loss` over the modules that
    have one. A module applied several times in one pass (shared weights) keeps that of the last
    application. So it is with `router_figures`: the share of the choices that each expert has, then
    the mean entropy of the router over log(experts), then the share of what was dropped: choices
    beyond the capacity, or tokens that no expert chose.

    Args:
        dim: width of a token; inferred from the input.
        experts: number of experts.
        top: how many of them a token goes to.
        hidden: width inside an expert.
        activation: relu, gelu or silu; swiglu or geglu for gated experts, which have a third
            matrix; clamped_swiglu: (v + 1) g sigmoid(1.702 g), where g is at most 7 and v between
            -7 and 7.
        bias: whether the experts have biases.
        router_bias: whether the router has one.
        scores: what the scores of the router become: chances by softmax over all experts, or each
            its own sigmoid.
        groups: number of groups of adjacent experts. A token goes to experts of `top_groups` of
            them, chosen by the sum of the two best scores of a group.
        top_groups: see `groups`.
        scale: factor of the weights of the chosen experts, whose sum is 1 where there are several.
        balance: weight of the load-balancing loss.
        balance_rate: how far each step of the optimizer moves the correction of an expert, which is
            added to its score for the choice alone: up where it had fewer tokens than the mean,
            down where more. 0 means no correction.
        routing: `token`: each token chooses `top` experts; `expert`: each expert chooses `top` ·
            tokens / experts tokens of each example, rounded up.
        capacity: in training an expert takes at most `capacity` · `top` · tokens / experts choices
            of an example, rounded up, the first tokens first; those beyond are dropped, and leave
            the token as it is on the residual path. None drops nothing.

    Shape:
        (batch, ..., dim), padding_mask (batch, ...) -> (batch, ..., dim); padding only does not
        count in the loss

    Raises:
        BlockError: `top` is not in 1..experts; `hidden` is not positive; an unknown `activation` or
            `scores`; `groups` does not divide `experts` into groups of two or more; `top_groups` is
            not in 1..groups, or too few for `top`; `balance_rate` is negative; unknown `routing`;
            `capacity` is not positive; `routing: expert` with groups, a correction or a capacity.

    Source:
        Shazeer et al. 2017, arXiv:1701.06538. For `top` 1 the chance of the expert weighs its
        answer and the loss is that of Fedus et al. 2022, arXiv:2101.03961 (Switch), section 2.2;
        for more the chances of the chosen are made to sum to one, as in Lepikhin et al. 2021,
        arXiv:2006.16668 (GShard), and Jiang et al. 2024, arXiv:2401.04088 (Mixtral). The router
        works in float32 (Switch, section 2.4). Blocks instead of a capacity with dropped tokens:
        Gale et al. 2023, arXiv:2211.15841 (MegaBlocks). Sigmoids, groups and `scale` are those of
        DeepSeek-V3, arXiv:2412.19437, section 2.1.2; the correction is that of Wang et al. 2024,
        arXiv:2408.15664, algorithm 1; clamped_swiglu is that of GPT-OSS, arXiv:2508.10925. Experts
        that choose: Zhou et al. 2022, arXiv:2202.09368, section 3.2, there among the tokens of the
        whole batch. The capacity is that of GShard, section 2.2, whose groups are examples here;
        Switch, section 2.2, drops in evaluation, too. Weights start as those of `torch.nn.Linear`.
    """

    auxiliary_loss: Tensor | None
    correction: Tensor | None
    received: Tensor | None
    router_figures: Tensor | None

    def __init__(
        self,
        dim: int,
        *,
        experts: int,
        top: int = 2,
        hidden: int,
        activation: Literal["relu", "gelu", "silu", "swiglu", "geglu", "clamped_swiglu"] = "gelu",
        bias: bool = False,
        router_bias: bool = False,
        scores: Literal["softmax", "sigmoid"] = "softmax",
        groups: int = 1,
        top_groups: int = 1,
        scale: float = 1.0,
        balance: float = 0.01,
        balance_rate: float = 0.0,
        routing: Literal["token", "expert"] = "token",
        capacity: float | None = None,
    ):
        super().__init__()
        must_be_positive("experts", experts)
        must_be_positive("hidden", hidden)
        if not 1 <= top <= experts:
            fits = ", ".join(str(count) for count in range(1, min(experts, 8) + 1))
            raise BlockError(
                "top must be in 1..experts",
                got=f"top={top}, experts={experts}",
                fits=f"top in {fits}",
            )
        must_be_one_of("activation", activation, [*_ACTIVATIONS, _CLAMPED])
        must_be_one_of("scores", scores, ["softmax", "sigmoid"])
        must_be_groups(experts, top, groups, top_groups)
        if not balance_rate >= 0:
            raise BlockError(
                "balance_rate must not be negative",
                got=f"balance_rate={balance_rate}",
                fits="e.g. balance_rate=0.001",
            )
        must_be_one_of("routing", routing, ["token", "expert"])
        must_be_positive("capacity", 1 if capacity is None else capacity)
        if routing == "expert" and (groups > 1 or balance_rate > 0 or capacity is not None):
            raise BlockError(
                "an expert that chooses takes as many tokens as every other",
                got=f"groups={groups}, balance_rate={balance_rate}, capacity={capacity}",
                fits="routing=expert without groups, balance_rate and capacity",
            )
        self.routing, self.capacity = routing, capacity
        self.experts, self.top, self.balance, self.activation = experts, top, balance, activation
        self.scores, self.scale = scores, scale
        self.groups, self.top_groups, self.balance_rate = groups, top_groups, balance_rate
        self.gated = activation.endswith("glu")
        self.auxiliary_loss, self.router_figures = None, None
        wide = 2 * hidden if self.gated else hidden
        self.router = nn.Linear(dim, experts, bias=router_bias)
        corrected = balance_rate > 0
        self.register_buffer("correction", torch.zeros(experts) if corrected else None)
        # tokens since the last step of the optimizer
        self.register_buffer(
            "received", torch.zeros(experts) if corrected else None, persistent=False
        )
        self.up_weight = nn.Parameter(torch.empty(experts, dim, wide))
        self.down_weight = nn.Parameter(torch.empty(experts, hidden, dim))
        self.up_bias = nn.Parameter(torch.empty(experts, wide)) if bias else None
        self.down_bias = nn.Parameter(torch.empty(experts, dim)) if bias else None
        for weight, offset in ((self.up_weight, self.up_bias), (self.down_weight, self.down_bias)):
            bound = weight.shape[1] ** -0.5
            nn.init.uniform_(weight, -bound, bound)
            if offset is not None:
                nn.init.uniform_(offset, -bound, bound)

    def stacks(self) -> dict[str, list[Tensor]]:
        """The matrices of the experts, each (out, in): a gated one has two, side by side."""
        halves = 2 if self.gated else 1
        up = [part.mT for expert in self.up_weight for part in expert.chunk(halves, dim=-1)]
        return {"up_weight": up, "down_weight": [expert.mT for expert in self.down_weight]}

    def __getstate__(self) -> dict[str, Any]:
        # The loss belongs to the autograd graph of one step: copies and pickles leave it out.
        return {**self.__dict__, "auxiliary_loss": None, "router_figures": None}

    def forward(
        self,
        x: Float[Tensor, "batch *tokens dim"],
        padding_mask: Bool[Tensor, " batch *tokens"] | None = None,
    ) -> Float[Tensor, "batch *tokens dim"]:
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        exact = torch.promote_types(x.dtype, torch.float32)
        offset = None if self.router.bias is None else self.router.bias.to(exact)
        # `meta` has no autocast
        with nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
            scores = F.linear(x.to(exact), self.router.weight.to(exact), offset)
            chances = scores.sigmoid() if self.scores == "sigmoid" else scores.softmax(dim=-1)
        self.auxiliary_loss, self.router_figures = None, None
        real = None
        if padding_mask is not None:
            real = padding_mask.reshape(-1, 1).to(exact)
        rows = x.view(shape[0], -1, shape[-1])
        if self.routing == "expert":
            taken = self._take_tokens(chances.view(*rows.shape[:2], -1), padding_mask)
            if self.training:
                self._report(chances, taken.view(-1, self.experts), real)
            index, gates = self._fill_slots(taken, chances.view_as(taken) * self.scale)
            return self._answer_slots(rows, index, gates).view(shape)
        chosen = self._choose(chances)
        weights = chances.gather(-1, chosen)
        if self.top > 1:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        weights = weights * self.scale
        sent = torch.zeros_like(chances).scatter(1, chosen, 1.0)
        if self.training:
            if self.scores == "sigmoid":
                chances = chances / chances.sum(dim=-1, keepdim=True)
            self.auxiliary_loss = self._imbalance(chances, sent / self.top, real)
            if self.received is not None:
                self._count(self.received, chosen, padding_mask)
            if self.capacity is not None:
                taken = self._drop(sent.view(*rows.shape[:2], -1), real)
                self._report(chances, taken.view_as(sent), real)
                gates = torch.zeros_like(chances).scatter(1, chosen, weights)
                index, gates = self._fill_slots(taken, gates.view_as(taken))
                return self._answer_slots(rows, index, gates).view(shape)
            self._report(chances, sent, real)
        answers = self._answers(x, chosen)
        return (weights.to(answers.dtype).unsqueeze(1) @ answers).view(shape)

    def step(
        self, memory: DecodeCache, x: Tensor, padding_mask: Tensor | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        if self.routing == "expert":
            raise StepError(
                "an expert chooses among all tokens", got="routing=expert", fits="routing=token"
            )
        return MixtureOfExperts.forward(self, x, padding_mask)

    def _room(self, tokens: int, factor: float) -> int:
        """How many of the tokens of an example an expert takes."""
        return min(tokens, math.ceil(factor * self.top * tokens / self.experts))

    def _take_tokens(
        self, chances: Float[Tensor, "batch tokens experts"], padding_mask: Tensor | None
    ) -> Float[Tensor, "batch tokens experts"]:
        """1 where an expert takes a token: those with the best scores for it, padding never."""
        ranks = chances.detach()
        if padding_mask is not None:
            ranks = ranks.masked_fill(~padding_mask.reshape(*ranks.shape[:2], 1), -1.0)
        best = ranks.topk(self._room(ranks.shape[1], 1.0), dim=1)
        return torch.zeros_like(ranks).scatter(1, best.indices, (best.values >= 0).to(ranks.dtype))

    def _drop(
        self, sent: Float[Tensor, "batch tokens experts"], real: Tensor | None
    ) -> Float[Tensor, "batch tokens experts"]:
        """What is left of the choices of tokens where an expert takes the first ones only."""
        assert self.capacity is not None
        if real is not None:
            sent = sent * real.view(*sent.shape[:2], 1)
        return sent * (sent.cumsum(dim=1) <= self._room(sent.shape[1], self.capacity))

    def _fill_slots(self, taken: Tensor, gates: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens that each expert takes, and their weights, 0 in an empty slot: both (batch,
        experts, slots).

        Args:
            taken: (batch, tokens, experts), 1 where an expert takes a token.
            gates: (batch, tokens, experts).
        """
        slots = self._room(taken.shape[1], 1.0 if self.capacity is None else self.capacity)
        index = taken.mT.topk(slots, dim=-1).indices
        return index, (gates * taken).mT.gather(-1, index)

    def _answer_slots(
        self,
        x: Float[Tensor, "batch tokens dim"],
        index: Tensor,
        gates: Tensor,
    ) -> Float[Tensor, "batch tokens dim"]:
        """The sum of what experts answer to the tokens that they take."""
        rows = index.flatten(1).unsqueeze(-1).expand(-1, -1, x.shape[-1])
        taken = x.gather(1, rows).unflatten(1, index.shape[1:]).transpose(0, 1)
        answers = self._experts(taken.flatten(1, 2), None).view(*taken.shape[:3], -1)
        answers = answers.transpose(0, 1) * gates.to(answers.dtype).unsqueeze(-1)
        return answers.new_zeros(x.shape).scatter_add(1, rows, answers.flatten(1, 2))

    @torch.no_grad()
    def _report(self, chances: Tensor, taken: Tensor, real: Tensor | None) -> None:
        """Leave `router_figures`.

        Args:
            chances: (tokens, experts).
            taken: (tokens, experts), 1 where an expert works on a token.
            real: (tokens, 1), 0 for padding.
        """
        real = torch.ones_like(chances[:, :1]) if real is None else real
        count = real.sum().clamp(min=1)
        chances = chances / chances.sum(dim=-1, keepdim=True)
        entropy = (
            (torch.special.entr(chances) * real).sum() / count / math.log(max(2, self.experts))
        )
        load = (taken * real).sum(dim=0)
        if self.routing == "expert":
            dropped = ((taken.sum(dim=-1, keepdim=True) == 0) * real).sum() / count
        else:
            dropped = 1 - load.sum() / (count * self.top)
        load = load / load.sum().clamp(min=1)
        self.router_figures = torch.cat((load, entropy.view(1), dropped.view(1)))

    def _choose(self, chances: Tensor) -> Tensor:
        """The experts of each token: (tokens, experts) -> (tokens, top)."""
        ranks = chances if self.correction is None else chances + self.correction
        if self.groups > 1:
            grouped = ranks.unflatten(-1, (self.groups, -1))
            best = grouped.topk(2, dim=-1).values.sum(dim=-1).topk(self.top_groups, dim=-1).indices
            allowed = torch.zeros_like(grouped[..., 0], dtype=torch.bool).scatter(-1, best, True)
            ranks = grouped.masked_fill(~allowed.unsqueeze(-1), -torch.inf).flatten(-2)
        return ranks.topk(self.top, dim=-1).indices

    @torch.no_grad()
    def _count(self, received: Tensor, chosen: Tensor, padding_mask: Tensor | None) -> None:
        """Add the tokens of each expert to those that it received."""
        real = torch.ones_like(chosen, dtype=received.dtype)
        if padding_mask is not None:
            real = real * padding_mask.reshape(-1, 1)
        received.scatter_add_(0, chosen.flatten(), real.flatten())

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the corrections towards equal numbers of tokens, over all processes; called after
        each step of the optimizer.
        """
        if self.received is None or self.correction is None:
            return
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.received)
        missing = self.received.mean() - self.received
        self.correction += self.balance_rate * missing.sign()
        self.received.zero_()

    def _imbalance(self, chances: Tensor, sent: Tensor, real: Tensor | None) -> Tensor:
        """`balance` * experts * sum of (share of tokens an expert gets) * (its mean chance):
        `balance` when even.
        """
        if real is None:
            shares, means = sent.mean(dim=0), chances.mean(dim=0)
        else:
            real = real.to(chances.dtype)
            real = real / real.sum().clamp(min=1)
            shares, means = (sent * real).sum(dim=0), (chances * real).sum(dim=0)
        return self.balance * self.experts * (shares * means).sum()

    def _answers(self, x: Tensor, chosen: Tensor) -> Tensor:
        """The outputs of the chosen experts: (tokens, top, dim)."""
        orders = chosen.numel()  # one order a token and chosen expert
        # Small blocks waste few rows of padding in each expert's last one, but every block copies
        # the weights of its expert: two blocks an expert were fastest for training (8 and 32
        # experts, CPU).
        size = (orders + 2 * self.experts - 1) // (2 * self.experts)
        # Enough for any distribution; tracing a changing batch size needs a bound that does not
        # depend on it.
        tracing = torch.compiler.is_compiling()
        blocks = 3 * self.experts - 1 if tracing else (orders + self.experts * (size - 1)) // size

        expert, order = chosen.flatten().sort(stable=True)
        counts = expert.new_zeros(self.experts).scatter_add(0, expert, torch.ones_like(expert))
        filled = (counts + size - 1) // size  # blocks of each expert
        ends = filled.cumsum(0)
        # from an index among the sorted orders to its row
        shift = (ends - filled) * size - (counts.cumsum(0) - counts)
        rows = torch.arange(orders, device=x.device) + shift[expert]
        # unused rows compute token 0
        token = order.new_zeros(blocks * size).scatter(0, rows, order // self.top)
        owner = torch.searchsorted(ends, torch.arange(blocks, device=x.device), right=True)
        owner = owner.clamp(max=self.experts - 1)

        tokens = x.index_select(0, token).view(blocks, size, x.shape[1])
        rows = torch.empty_like(rows).scatter(0, order, rows).view(chosen.shape)
        # Two indices, because an export of a flat view would forbid blocks of one row.
        return self._experts(tokens, owner)[rows // size, rows % size]

    def _experts(self, tokens: Tensor, owner: Tensor | None) -> Tensor:
        """The MLP of expert owner[i] on block i, that of expert i without owners: (blocks, size,
        dim) -> the same.
        """

        def of(each: Tensor) -> Tensor:
            return each if owner is None else each.index_select(0, owner)

        inner = tokens @ of(self.up_weight)
        if self.up_bias is not None:
            inner = inner + of(self.up_bias).unsqueeze(1)
        if self.activation == _CLAMPED:
            gate, inner = inner.chunk(2, dim=-1)
            gate, inner = gate.clamp(max=7), inner.clamp(-7, 7)
            inner = (inner + 1) * gate * torch.sigmoid(1.702 * gate)
        elif self.gated:
            gate, inner = inner.chunk(2, dim=-1)
            inner = _ACTIVATIONS[self.activation](gate) * inner
        else:
            inner = _ACTIVATIONS[self.activation](inner)
        outer = inner @ of(self.down_weight)
        return outer if self.down_bias is None else outer + of(self.down_bias).unsqueeze(1)
