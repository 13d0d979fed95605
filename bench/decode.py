"""Cached greedy decoding of the small encoder-decoder: ours against `generate` of transformers at
the same size.

python -m bench.decode [--rounds N] [--batch N] [--device cuda]
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench import peers, table
from bench.families.encoder_decoder import DEPTH, DIM, HEADS, HIDDEN, TOKENS, VOCAB, WORDS
from bench.families.ours import built
from bench.measure import interleave

NEVER = -1  # an end mark that is never said, so that both say as many tokens


def ours(source: Tensor) -> Callable[[], Tensor]:
    from tasks.decode import search
    from tasks.decode.scorer import NextTokenScorer

    network = built("transformer_base", WORDS, {}).eval().to(source.device)
    scorer = NextTokenScorer(network, {"target": {"vocab": VOCAB}}, "target")
    start = source.new_zeros(len(source), 1)

    def say() -> Tensor:
        score = scorer.score({"source": source}, TOKENS - 1)
        return search.greedy_search(score, start, end=NEVER, limit=TOKENS - 1, pad=0)

    return torch.inference_mode()(say)


def transformers(source: Tensor) -> Callable[[], Tensor]:
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=VOCAB,
        d_model=DIM,
        encoder_layers=DEPTH,
        decoder_layers=DEPTH,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=HIDDEN,
        decoder_ffn_dim=HIDDEN,
        activation_function="relu",
        scale_embedding=True,
        bos_token_id=0,
        max_position_embeddings=TOKENS,
        pad_token_id=0,
        decoder_start_token_id=0,
        eos_token_id=None,
        forced_eos_token_id=None,
    )
    model = MarianMTModel(config).eval().to(source.device)
    mask = torch.ones_like(source)
    options = {
        "num_beams": 1,
        "do_sample": False,
        "min_new_tokens": TOKENS - 1,
        "max_new_tokens": TOKENS - 1,
    }
    return lambda: model.generate(source, attention_mask=mask, **options)


def waited_for(step: Callable[[], Tensor]) -> Callable[[], None]:
    """The same, until the GPU has done it."""

    def work() -> None:
        step()
        torch.cuda.synchronize()

    return work


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.decode", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    peers.admit()
    source = torch.randint(VOCAB, (given.batch, TOKENS), generator=torch.Generator().manual_seed(0))
    source = source.to(given.device)
    torch.manual_seed(0)
    generate = {"dougong": ours(source), "transformers": transformers(source)}
    for name, step in generate.items():
        assert step().shape == (given.batch, TOKENS), name
    steps: dict[str, Callable[[], Any]] = dict(generate)
    if source.is_cuda:
        steps = {name: waited_for(step) for name, step in generate.items()}
    times = interleave(steps, given.rounds)
    ratios = {
        name: [times.ratio(name, "transformers", kind) for kind in ("clock", "processor")]
        for name in steps
    }
    said = given.batch * (TOKENS - 1)
    rows = [
        [name, f"{said / times.median(name):,.0f}", *map(table.ratio, ratios[name])]
        for name in steps
    ]
    print(
        f"{DEPTH}+{DEPTH} layers, {DIM} wide, {given.batch} x {TOKENS - 1} tokens, "
        f"{torch.get_num_threads()} threads"
    )
    print(table.table(("", "tokens a second", "time of transformers'", "by processor time"), rows))


if __name__ == "__main__":
    main()
