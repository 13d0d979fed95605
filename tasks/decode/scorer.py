"""Scores of the next token from a network, with a cache where it provably changes nothing."""

import logging
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from blocks.graph import Graph, IncrementalModel, StepError, verify_incremental
from blocks.graph.run.incremental import IncrementalSession
from tasks.decode.screened_head import ScreenedHeads
from tasks.decode.search import find_largest, mask_forbidden

log = logging.getLogger(__name__)


class NextTokenScorer:
    """A network as a source of next-token logits.

    Before its cache is used, the network is run with it and without, on as many random tokens as
    will be decoded. Where the results differ, or a block does not support incremental decoding,
    decoding runs without a cache, and a warning states why, once.

    Args:
        network: gives logits (rows, tokens, vocab), or a mapping with "logits".
        facts: facts of the data; the entry of the growing input has its "vocab".
        grows: name of that input, "tokens" or "target"; its mask is `grows` + "_mask", or
            "padding_mask" for tokens.
        window: number of tokens that the network takes; longer prefixes are cut to their last
            tokens, with positions from 0 on. None for any number.
        cache: whether to try a cache.
    """

    def __init__(
        self,
        network: nn.Module,
        facts: Mapping[str, Any],
        grows: str,
        *,
        window: int | None = None,
        cache: bool = True,
    ):
        self.network = network
        self.grows = grows
        self.window = window
        self.cache = cache
        self.vocab = int(facts[grows]["vocab"])
        self.mask = "padding_mask" if grows == "tokens" else f"{grows}_mask"
        self.needs_mask = requires_input(network, self.mask)
        self.has_told = False  # that a prefix is longer than the window
        self.verified = 0  # number of tokens up to which the cache is verified
        self.stepper: IncrementalModel | None = None
        self.heads = ScreenedHeads()

    def score(
        self, fixed: Mapping[str, Tensor], limit: int, *, history: int = 0
    ) -> "ScoringSession":
        """Return a function that scores prefixes.

        Args:
            fixed: the inputs that do not grow; each row may have several prefixes, side by side.
            limit: largest number of tokens of a prefix.
            history: number of calls that prefixes may take back, for networks with states.
        """
        if self.window is not None:
            limit = min(limit, self.window)
        stepper = self._verified_stepper(fixed, limit)
        return ScoringSession(self, fixed, limit, stepper, history=history)

    def growing_inputs(self, tokens: Tensor) -> dict[str, Tensor]:
        """Return the inputs that grow; no decoded token is padding, so a mask is all true."""
        inputs = {self.grows: tokens}
        if self.needs_mask:
            inputs[self.mask] = torch.ones_like(tokens, dtype=torch.bool)
        return inputs

    def _verified_stepper(self, fixed: Mapping[str, Tensor], limit: int) -> IncrementalModel | None:
        """Return the incremental network if it is verified for `limit` tokens."""
        if not self.cache or limit < 2 or self.network.training:  # training is random
            return None
        if limit > self.verified:
            try:
                self._verify(fixed, limit)
            except StepError as error:
                self.cache, self.stepper = False, None
                log.warning("note: decoding without a cache, which is slower: %s", error)
        return self.stepper

    def _verify(self, fixed: Mapping[str, Tensor], limit: int) -> None:
        if not isinstance(self.network, Graph):
            raise StepError(
                "only a network built from YAML can be decoded incrementally",
                got=type(self.network).__name__,
            )
        stepper = self.stepper or IncrementalModel(self.network, (self.grows, self.mask))
        device = next(self.network.parameters()).device
        two_rows = {name: tensor[[0, -1]] for name, tensor in fixed.items()}
        rows = 4 if fixed else 2
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(self.vocab, (rows, limit), generator=generator).to(device)
        # in the precision of the weights: rounding in mixed precision is no fault of the cache
        with torch.autocast(device.type, enabled=False):
            verify_incremental(stepper, two_rows, self.growing_inputs(tokens))
        self.stepper, self.verified = stepper, limit


class ScoringSession:
    """Logits of the next token, (rows, vocab), for prefixes (rows, tokens).

    See `tasks.decode.search` for the contract.

    Args:
        scorer: of the network.
        fixed: the inputs that do not grow.
        limit: largest number of tokens for incremental decoding.
        stepper: the incremental network; None to decode without a cache.
        history: number of calls that prefixes may take back, for networks with states.
    """

    def __init__(
        self,
        scorer: NextTokenScorer,
        fixed: Mapping[str, Tensor],
        limit: int,
        stepper: IncrementalModel | None,
        *,
        history: int = 0,
    ):
        self.scorer = scorer
        self.fixed = fixed
        self.limit = limit
        self.stepper = stepper
        self.history = history
        self.prefix: Tensor | None = None  # the last one that the cache has seen
        self.steps: IncrementalSession  # from the first prefix on

    def __call__(self, prefix: Tensor) -> Tensor:
        return self.score_last(prefix, 1)[:, -1]

    def score_last(self, prefix: Tensor, count: int) -> Tensor:
        """Return the logits after each of the last `count` tokens, (rows, count, vocab).

        Args:
            prefix: (rows, tokens); where `count` is above 1, at most `limit` tokens.
            count: 1 or more.
        """
        if self.stepper is None or prefix.shape[1] > self.limit:
            self._tell_length(prefix.shape[1])
            return self._score_whole(prefix)[:, -count:]
        hidden, head = self._step(prefix, count)
        if head is None:
            return select_logits(hidden)[:, -count:]
        return head(hidden[:, -count:])

    def choose_largest(self, prefix: Tensor, forbidden: Collection[int] = ()) -> Tensor:
        """Return the most likely next token of each row, (rows,).

        Args:
            prefix: (rows, tokens).
            forbidden: tokens that are never chosen.
        """
        if self.stepper is None or prefix.shape[1] > self.limit:
            return find_largest(mask_forbidden(self(prefix), forbidden))
        hidden, head = self._step(prefix, 1)
        if head is None:
            return find_largest(mask_forbidden(select_logits(hidden)[:, -1], forbidden))
        return self.scorer.heads.choose(head, hidden[:, -1], forbidden)

    def _step(self, prefix: Tensor, count: int) -> tuple[Any, nn.Linear | None]:
        """Run the network over what is new of a prefix, at least its last `count` tokens.

        Returns:
            What the head takes, and the head; where there is none, what the network returns.
        """
        past = self._keep_common(prefix, prefix.shape[1] - count)
        inputs = self.scorer.growing_inputs(prefix[:, past:])
        result: tuple[Any, nn.Linear | None] | None = self.steps.step_to_head(**inputs)
        if result is None:
            result = self.steps.step(**inputs), None
        self.prefix = prefix
        return result

    def _keep_common(self, prefix: Tensor, most: int) -> int:
        """Let the cache have the first tokens that it shares with the prefix, at most `most`;
        return their number.
        """
        if self.prefix is not None and len(prefix) == len(self.prefix):
            seen = self.prefix.shape[1]
            if seen <= most and torch.equal(prefix[:, :seen], self.prefix):
                return self.steps.rewind(seen)
            length = min(most, self.prefix.shape[1])
            common = count_equal(prefix[:, :length], self.prefix[:, :length])
            if common:
                return self.steps.rewind(common)
        assert self.stepper is not None
        several = self._prefixes_per_row(prefix)
        self.steps = self.stepper.start(self.limit, self.fixed, several, history=self.history)
        return 0

    def reorder(self, rows: Tensor) -> None:
        """Let row i of the next prefixes continue row `rows[i]` of the last ones."""
        if self.prefix is not None:
            before, self.prefix = self.prefix, self.prefix[rows]
            self.steps.reorder(rows, count_equal(before, self.prefix))

    def _prefixes_per_row(self, prefix: Tensor) -> int:
        if not self.fixed:
            return 1
        return len(prefix) // len(next(iter(self.fixed.values())))

    def _tell_length(self, tokens: int) -> None:
        """Warn once where the text has outgrown what the cache was made for."""
        scorer = self.scorer
        if self.stepper is None or scorer.has_told or scorer.window is None:
            return
        if tokens > scorer.window:
            scorer.has_told = True
            log.warning(
                "note: the text is longer than data.length: from here on each token recomputes "
                "the last %d, without a cache, which is slower",
                scorer.window,
            )

    def _score_whole(self, prefix: Tensor) -> Tensor:
        repeats = self._prefixes_per_row(prefix)
        fixed = {name: tensor.repeat_interleave(repeats, 0) for name, tensor in self.fixed.items()}
        if self.scorer.window is not None:
            prefix = prefix[:, -self.scorer.window :]
        result = self.scorer.network(**fixed, **self.scorer.growing_inputs(prefix))
        return select_logits(result)


def requires_input(network: nn.Module, name: str) -> bool:
    """Return whether a graph has an input of this name without a default."""
    if not isinstance(network, Graph):
        return False
    inputs = network.graph.find_nodes(op="placeholder", target=name)
    return any(not node.args for node in inputs)


def count_equal(prefix: Tensor, other: Tensor) -> int:
    """Return the number of first tokens that are the same in all rows, (rows, tokens)."""
    equal = (prefix == other).all(0)
    return int(equal.cumprod(0).sum())


def select_logits(result: Any) -> Tensor:
    """Return the logits of what a network returned."""
    if isinstance(result, Mapping):
        return result["logits"]
    return result
