"""Mamba and Mamba-2 of the width of 130 million parameters, 2 layers, on random tokens."""

from typing import Any

from bench.compare.contender import Contender, Family
from bench.families.language import Size, following, of_transformers, ours, texts
from bench.families.ours import macs

VOCAB, WIDTH, DEPTH = 1000, 768, 2


def overrides(size: Size) -> list[str]:
    """The size as overrides of the model."""
    return [f"params.depth={DEPTH}", f"params.vocab={VOCAB}", f"params.length={size.tokens}"]


def make(name: str, model: str, size: Size, sizes: dict[str, Any], device: str) -> Family:
    """A family of transformers' `name`.

    Args:
        name: e.g. "Mamba2".
        model: our file.
        size: of the batch.
        sizes: of transformers' configuration.
        device: where models and batches lie.
    """
    words, tokens = overrides(size), texts(VOCAB, size).to(device)

    def dougong() -> Contender:
        return ours(words, model, {}, {"tokens": tokens}, following(tokens))

    def transformers() -> Contender:
        import transformers as peer

        config = getattr(peer, f"{name}Config")(
            hidden_size=WIDTH,
            num_hidden_layers=DEPTH,
            vocab_size=VOCAB,
            tie_word_embeddings=True,
            use_cache=False,
            **sizes,
        )
        network = getattr(peer, f"{name}ForCausalLM")(config)
        return of_transformers(network, tokens, input_ids=tokens)

    return Family(
        name.lower(),
        f"{DEPTH} layers, {WIDTH} wide, vocabulary {VOCAB:,}, {size.batch}x{size.tokens}",
        {"dougong": dougong, "transformers": transformers},
        maps={"transformers": f"transformers_{name.lower()}"},
        flops=lambda: 6 * size.batch * macs(model, words, {}),
    )


def families(device: str) -> list[Family]:
    """Mamba on short texts: a step of transformers without kernels is quadratic in the tokens."""
    two = {"num_heads": 24, "head_dim": 64, "state_size": 128, "n_groups": 1}
    return [
        make("Mamba", "mamba_130m", Size(batch=1, tokens=128), {}, device),
        make("Mamba2", "mamba2_130m", Size(batch=1, tokens=1024), two, device),
    ]
