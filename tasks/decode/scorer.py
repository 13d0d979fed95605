"""What decoding asks of a network: logits of the next token, with a cache where that is proved to
change nothing.
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from blocks.graph import Graph, IncrementalModel, StepError, verify_incremental

log = logging.getLogger(__name__)


class NextTokenScorer:
    """A network that says its `tokens` or `target` token by token.

    Before its cache is trusted, the network is asked with it and without, for random tokens as many
    as are going to be said; where the two differ, or a block cannot go on token by token, it is
    asked whole at every step, and a note says why, once.

    Args:
        network: gives logits (rows, tokens, vocab), or a mapping with "logits".
        facts: what the data said of the input that grows: its "vocab".
        grows: that input; its mask is `grows` + "_mask", "padding_mask" for tokens.
        window: how many tokens the network can look at; beyond, it is asked for the last ones, with
            places from 0 on. None for any number.
        cache: whether to try.
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
        self.network, self.grows, self.window, self.cache = network, grows, window, cache
        self.vocab = int(facts[grows]["vocab"])
        self.mask = "padding_mask" if grows == "tokens" else f"{grows}_mask"
        self.masked = isinstance(network, Graph) and any(
            node.op == "placeholder" and node.target == self.mask and not node.args  # no default
            for node in network.graph.nodes
        )
        self.proved = 0  # up to how many tokens
        self.stepper: IncrementalModel | None = None

    def score(self, fixed: Mapping[str, Tensor], limit: int) -> "ScoringSession":
        """A score for prefixes of up to `limit` tokens, several rows of them to each row of
        `fixed`, side by side.
        """
        limit = limit if self.window is None else min(limit, self.window)
        return ScoringSession(self, fixed, limit, self._trusted(fixed, limit))

    def growing(self, tokens: Tensor) -> dict[str, Tensor]:
        """The inputs that grow. Nothing of what is said is padding: a mask is given only where
        there must be one.
        """
        if not self.masked:
            return {self.grows: tokens}
        return {self.grows: tokens, self.mask: torch.ones_like(tokens, dtype=torch.bool)}

    def _trusted(self, fixed: Mapping[str, Tensor], limit: int) -> IncrementalModel | None:
        """The network in steps, if so many tokens are proved."""
        if (
            not self.cache or limit < 2 or self.network.training
        ):  # training draws chance at every step
            return None
        if limit > self.proved:
            try:
                self._prove(fixed, limit)
            except StepError as error:
                self.cache, self.stepper = False, None
                log.warning(
                    "note: the network is asked whole at every step, for a cache would not do: %s",
                    error,
                )
        return self.stepper

    def _prove(self, fixed: Mapping[str, Tensor], limit: int) -> None:
        if not isinstance(self.network, Graph):
            raise StepError(
                "only a network out of YAML is known by its parts", got=type(self.network).__name__
            )
        stepper = self.stepper or IncrementalModel(self.network, (self.grows, self.mask))
        device = next(self.network.parameters()).device
        two = {name: tensor[[0, -1]] for name, tensor in fixed.items()}
        shape = (4 if fixed else 2, limit)
        tokens = torch.randint(self.vocab, shape, generator=torch.Generator().manual_seed(0)).to(
            device
        )
        verify_incremental(stepper, two, self.growing(tokens))
        self.stepper, self.proved = stepper, limit


class ScoringSession:
    """Logits of the next token, (rows, vocab), for prefixes (rows, tokens); see
    `tasks.decode.search`.

    Args:
        scorer: the network.
        fixed: the inputs that do not grow.
        limit: up to how many tokens the steps go.
        stepper: the network in steps, None to ask it whole.
    """

    def __init__(
        self,
        scorer: NextTokenScorer,
        fixed: Mapping[str, Tensor],
        limit: int,
        stepper: IncrementalModel | None,
    ):
        self.scorer, self.fixed, self.limit, self.stepper = scorer, fixed, limit, stepper
        self.heard: Tensor | None = None

    def __call__(self, prefix: Tensor) -> Tensor:
        if self.stepper is None or prefix.shape[1] > self.limit:
            return self._whole(prefix)
        if not self._goes_on(prefix):
            self.steps = self.stepper.start(self.limit, self.fixed, self._several(prefix))
            self.heard = prefix[:, :0]
        assert self.heard is not None
        logits = self.steps.step(**self.scorer.growing(prefix[:, self.heard.shape[1] :]))
        self.heard = prefix
        return _logits(logits)[:, -1]

    def reorder(self, rows: Tensor) -> None:
        """Row number i of the next prefixes goes on from row number `rows[i]` of the last ones."""
        if self.heard is not None:
            self.steps.reorder(rows)
            self.heard = self.heard[rows]

    def _goes_on(self, prefix: Tensor) -> bool:
        """Whether these prefixes are those of the last time and something behind; any others begin
        anew.
        """
        if (
            self.heard is None
            or len(prefix) != len(self.heard)
            or prefix.shape[1] <= self.heard.shape[1]
        ):
            return False
        return torch.equal(prefix[:, : self.heard.shape[1]], self.heard)

    def _several(self, prefix: Tensor) -> int:
        return len(prefix) // len(next(iter(self.fixed.values()))) if self.fixed else 1

    def _whole(self, prefix: Tensor) -> Tensor:
        several = self._several(prefix)
        fixed = {name: tensor.repeat_interleave(several, 0) for name, tensor in self.fixed.items()}
        shown = prefix if self.scorer.window is None else prefix[:, -self.scorer.window :]
        return _logits(self.scorer.network(**fixed, **self.scorer.growing(shown)))[:, -1]


def _logits(result: Any) -> Tensor:
    return result["logits"] if isinstance(result, Mapping) else result
