"""Speculative decoding: a small network proposes tokens, and the network scores all of them at
once.

A step of one row takes as long as reading the weights, so that scoring five tokens takes hardly
longer than scoring one.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.decode.scorer import NextTokenScorer, ScoringSession
from tasks.decode.search import Sampler
from tasks.errors import ArgumentError, must_be_positive

Score = Callable[[Tensor], Tensor]
AHEAD = 4  # tokens that the draft proposes


@dataclass
class Counts:
    """How many tokens the draft has proposed, and how many of them the network accepted."""

    proposed: int = 0
    accepted: int = 0


class DraftedDecoding:
    """Tokens of a network, proposed by a draft.

    Args:
        network: scores what was proposed.
        draft: proposes; of the same vocabulary.
        sampler: of both.
        ahead: number of tokens that are proposed together.

    Attributes:
        counts: of all tokens so far.

    Raises:
        ArgumentError: vocabularies of different sizes, `ahead` below 1.

    Source:
        Leviathan et al. 2023, arXiv:2211.17192, algorithm 1: a token that the draft chose with
        probability q is accepted with probability min(1, p/q); in place of the first that is not,
        one is drawn from max(0, p - q), normalised. The tokens have the distribution that the
        network alone gives them. At temperature 0 they are the same tokens, unless two logits
        are equal to the rounding of the products.
    """

    def __init__(
        self,
        network: NextTokenScorer,
        draft: NextTokenScorer,
        sampler: Sampler,
        *,
        ahead: int = AHEAD,
    ):
        must_be_positive("ahead", ahead)
        if network.vocab != draft.vocab:
            raise ArgumentError(
                "draft",
                "the draft has another vocabulary",
                got=f"{draft.vocab} tokens, the run {network.vocab}",
                fits="a run that was trained with the same tokenizer",
            )
        self.network, self.draft = network, draft
        self.sampler, self.ahead = sampler, ahead
        self.counts = Counts()

    @torch.no_grad()
    def stream(self, start: Tensor, *, limit: int, stop: Collection[int] = ()) -> Iterator[Tensor]:
        """Yield the next token, (1,), until one of `stop`, or `limit` tokens.

        Args:
            start: (1, tokens), the prompt.
            limit: largest number of new tokens.
            stop: tokens that end the text.
        """
        most = start.shape[1] + limit
        score = self.network.score({}, most, history=1)
        propose = self.draft.score({}, most, history=self.ahead + 1)
        room = min(score.limit, propose.limit)  # what is longer is cut, and scored token by token
        prefix = start
        while prefix.shape[1] < most:
            ahead = min(self.ahead, most - prefix.shape[1] - 1, room - prefix.shape[1])
            for token in self._extend(prefix, max(ahead, 0), score, propose):
                yield token
                if int(token) in stop:
                    return
                prefix = torch.cat([prefix, token[:, None]], dim=1)

    def _extend(
        self, prefix: Tensor, ahead: int, score: ScoringSession, propose: Score
    ) -> list[Tensor]:
        """Return the tokens that are accepted, and one more: at least one, at most `ahead` + 1."""
        proposed, drafts = prefix, []
        for _ in range(ahead):
            drafts.append(self.sampler.weigh(propose(proposed)))
            proposed = torch.cat([proposed, self.sampler.draw(drafts[-1])[:, None]], dim=1)
        logits = score.score_last(proposed, ahead + 1)[0]
        wanted = self.sampler.weigh(logits).split(1)
        tokens = list(proposed[0, prefix.shape[1] :].split(1))
        accepted = 0
        while accepted < ahead and self._accepts(
            wanted[accepted], drafts[accepted], tokens[accepted]
        ):
            accepted += 1
        self.counts.proposed += ahead
        self.counts.accepted += accepted
        rest = wanted[accepted]
        if accepted < ahead:
            rest = subtract(rest, drafts[accepted])
        return [*tokens[:accepted], self.sampler.draw(rest)]

    def _accepts(self, wanted: Tensor, draft: Tensor, token: Tensor) -> bool:
        """Return whether a token of the draft counts. Arguments: (1, vocab), (1, vocab), (1,)."""
        chance = torch.rand(1, generator=self.sampler.generator, device=token.device)
        return bool(chance * draft[0, token] < wanted[0, token])


def subtract(wanted: Tensor, draft: Tensor) -> Tensor:
    """Return max(0, wanted - draft), normalised: where the draft gave too little, (1, vocab)."""
    rest = (wanted - draft).clamp_min(0)
    total = rest.sum()
    if not bool(total > 0):  # equal but for rounding
        return wanted
    return rest / total
