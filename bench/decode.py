"""Cached decoding of the small encoder-decoder and of the small GPT-2, greedy or by beam search:
ours against `generate` of transformers at the same size.

python -m bench.decode [--models encoder_decoder gpt2] [--batch N ...] [--tokens N ...]
    [--beams N ...] [--rounds N] [--threads N] [--device cuda]
"""

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench import peers, table
from bench.families.encoder_decoder import VOCAB, WORDS, make_marian
from bench.families.language import GPT, Size
from bench.families.ours import built
from bench.measure import interleave

NEVER = -1  # an end token that no model has, so that both decode as many tokens
GIVEN = 64  # tokens of a source
PROMPT = 8  # tokens before the first that is decoded by GPT-2


@dataclass(frozen=True)
class Case:
    """What is decoded: `batch` rows of `tokens` new tokens, by as many beams."""

    model: str
    batch: int
    tokens: int
    beams: int = 1

    @property
    def given(self) -> Tensor:
        """The sources of the encoder-decoder, the prompts of GPT-2: (batch, tokens)."""
        vocab, length = {"encoder_decoder": (VOCAB, GIVEN), "gpt2": (GPT, PROMPT)}[self.model]
        generator = torch.Generator().manual_seed(0)
        return torch.randint(1, vocab, (self.batch, length), generator=generator)

    def __str__(self) -> str:
        search = "greedy" if self.beams == 1 else f"{self.beams} beams"
        return f"{self.model}, {self.batch} x {self.tokens} tokens, {search}"


def ours(case: Case, given: Tensor) -> Callable[[], Tensor]:
    from tasks.decode import search
    from tasks.decode.scorer import NextTokenScorer

    longest = GIVEN + case.tokens
    if case.model == "gpt2":
        network = built("gpt2", Size(tokens=longest).overrides, {})
        scorer = NextTokenScorer(network, {"tokens": {"vocab": GPT}}, "tokens")
        fixed, start = {}, given
    else:
        network = built("transformer_base", [*WORDS, f"params.length={longest}"], {})
        scorer = NextTokenScorer(network, {"target": {"vocab": VOCAB}}, "target")
        fixed, start = {"source": given}, given.new_zeros(len(given), 1)
    network.eval().to(given.device)
    options: dict[str, Any] = {"end": NEVER, "limit": case.tokens, "pad": 0}

    def decode() -> Tensor:
        score = scorer.score(fixed, start.shape[1] + case.tokens - 1)
        if case.beams == 1:
            return search.greedy_search(score, start, **options)
        return search.beam_search(score, start, beams=case.beams, **options)[0]

    return torch.inference_mode()(decode)


def transformers(case: Case, given: Tensor) -> Callable[[], Tensor]:
    from transformers import GPT2Config, GPT2LMHeadModel

    longest = GIVEN + case.tokens
    model: Any
    if case.model == "gpt2":
        size = Size()
        model = GPT2LMHeadModel(
            GPT2Config(
                n_embd=size.dim,
                n_layer=size.depth,
                n_head=size.heads,
                vocab_size=GPT,
                n_positions=longest,
                bos_token_id=0,
                eos_token_id=None,
                pad_token_id=0,
            )
        )
    else:
        model = make_marian(
            longest,
            bos_token_id=0,
            pad_token_id=0,
            decoder_start_token_id=0,
            eos_token_id=None,
            forced_eos_token_id=None,
        )
    model.eval().to(given.device)
    options = {
        "attention_mask": torch.ones_like(given),
        "num_beams": case.beams,
        "do_sample": False,
        "max_new_tokens": case.tokens,
    }
    return lambda: model.generate(given, **options)


def waited_for(step: Callable[[], Tensor]) -> Callable[[], None]:
    """The same, until the GPU has done it."""

    def work() -> None:
        step()
        torch.cuda.synchronize()

    return work


def measure(case: Case, rounds: int, device: str) -> list[list[str]]:
    """Return the rows of one case, ours first."""
    given = case.given.to(device)
    first = PROMPT if case.model == "gpt2" else 1
    torch.manual_seed(0)
    decode = {"dougong": ours(case, given), "transformers": transformers(case, given)}
    for name, step in decode.items():
        shape = tuple(step().shape)
        assert shape == (case.batch, first + case.tokens), f"{name}: {shape}"
    steps: dict[str, Callable[[], Any]] = dict(decode)
    if given.is_cuda:
        steps = {name: waited_for(step) for name, step in decode.items()}
    times = interleave(steps, rounds, warm=1)
    rows = []
    for name in steps:
        ratios = [times.ratio(name, "transformers", kind) for kind in ("clock", "processor")]
        speed = f"{case.batch * case.tokens / times.median(name):,.0f}"
        rows.append([f"{case}: {name}", speed, *map(table.ratio, ratios)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.decode", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["encoder_decoder", "gpt2"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--tokens", type=int, nargs="+", default=[128])
    parser.add_argument("--beams", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, help="default: one for each core")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    peers.admit()
    print(f"{torch.get_num_threads()} threads", flush=True)
    rows = []
    sizes = (options.models, options.batch, options.tokens, options.beams)
    for case in itertools.starmap(Case, itertools.product(*sizes)):
        rows += measure(case, options.rounds, options.device)
        print(rows[-2], flush=True)
    print(table.table(("", "tokens/s", "time of transformers'", "by processor time"), rows))


if __name__ == "__main__":
    main()
