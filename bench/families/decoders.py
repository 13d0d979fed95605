"""A small Gemma 2 on random tokens: windows, capped scores and logits, four norms a layer."""

from typing import Any

from bench.compare.contender import Contender, Family
from bench.families.language import Size, following, of_transformers, ours, texts
from bench.families.ours import macs

VOCAB, WINDOW = 8000, 128
SIZE = Size(dim=384, depth=4, heads=6, batch=2, tokens=512)
KV_HEADS, HEAD_DIM, HIDDEN = 2, 64, 1536
OVERRIDES = [
    f"params.dim={SIZE.dim}",
    f"params.depth={SIZE.depth}",
    f"params.heads={SIZE.heads}",
    f"params.kv_heads={KV_HEADS}",
    f"params.hidden={HIDDEN}",
    f"params.vocab={VOCAB}",
    f"params.length={SIZE.tokens}",
    f"params.window={WINDOW}",
    f"attention.head_dim={HEAD_DIM}",
]


def families(device: str) -> list[Family]:
    """Gemma 2, whose caps transformers computes with its attention written out only."""
    tokens = texts(VOCAB, SIZE).to(device)

    def dougong() -> Contender:
        return ours(OVERRIDES, "gemma2_2b", {}, {"tokens": tokens}, following(tokens))

    def transformers() -> Contender:
        from transformers import Gemma2Config, Gemma2ForCausalLM

        rotary: dict[str, Any] = {"rope_type": "default", "rope_theta": 1e4}
        config = Gemma2Config(
            hidden_size=SIZE.dim,
            num_hidden_layers=SIZE.depth,
            num_attention_heads=SIZE.heads,
            num_key_value_heads=KV_HEADS,
            head_dim=HEAD_DIM,
            query_pre_attn_scalar=HEAD_DIM,
            intermediate_size=HIDDEN,
            vocab_size=VOCAB,
            max_position_embeddings=SIZE.tokens,
            sliding_window=WINDOW,
            rope_parameters=rotary,
            attn_implementation="eager",
            use_cache=False,
        )
        return of_transformers(Gemma2ForCausalLM(config), tokens, input_ids=tokens)

    return [
        Family(
            "gemma2",
            f"{SIZE}, vocabulary {VOCAB:,}, windows of {WINDOW}, {SIZE.batch}x{SIZE.tokens}",
            {"dougong": dougong, "transformers": transformers},
            maps={"transformers": "transformers_gemma2"},
            flops=lambda: 6 * SIZE.batch * macs("gemma2_2b", OVERRIDES, {}),
        )
    ]
