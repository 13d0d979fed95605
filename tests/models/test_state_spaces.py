"""Mamba and Mamba-2 against transformers, with copied weights; their counts are in `expect`."""

from pathlib import Path

import pytest
import torch
import yaml

from blocks.graph import build
from tests.models.peers import assert_equal, shake

MAPS = Path(__file__).resolve().parents[2] / "conf" / "weights"
SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 53}
PARAMS = ["params.dim=64", "params.depth=2", "params.vocab=53", "params.length=37"]


@pytest.mark.slow
def test_mamba_equals_transformers():
    hf = pytest.importorskip("transformers")
    peer = shake(hf.MambaForCausalLM(hf.MambaConfig(**SIZES, state_size=5)))
    tokens = torch.randint(0, 53, (2, 37))
    assert_equal(
        build("mamba_130m", [*PARAMS, "params.state=5"], {}),
        peer,
        "transformers_mamba",
        lambda m: m(tokens)["logits"],
        lambda m: m(tokens).logits,
    )


@pytest.mark.slow
def test_mamba2_equals_transformers():
    hf = pytest.importorskip("transformers")
    config = hf.Mamba2Config(
        **SIZES, num_heads=4, head_dim=32, state_size=12, n_groups=1, tie_word_embeddings=True
    )
    peer = shake(hf.Mamba2ForCausalLM(config))
    tokens = torch.randint(0, 53, (2, 37))
    text = (MAPS / "transformers_mamba2.yaml").read_text(encoding="utf-8")
    text = text.replace("[1536, 1536, 128, 128, 24]", "[128, 128, 12, 12, 4]")
    text = text.replace("[1536, 128, 128]", "[128, 12, 12]")
    assert_equal(
        build("mamba2_130m", [*PARAMS, "params.heads=4", "params.state=12"], {}),
        peer,
        yaml.safe_load(text),
        lambda m: m(tokens)["logits"],
        lambda m: m(tokens).logits,
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mamba_130m", "mamba2_130m"])
def test_padding_before_the_tokens_changes_nothing(model):
    torch.manual_seed(0)
    sizes = [*PARAMS, "params.state=12", "params.heads=4"][: 5 + (model == "mamba2_130m")]
    facts = {"padding_mask": {"tokens": 37, "dtype": "bool"}}
    ours = build(model, sizes, facts).eval()
    tokens = torch.randint(0, 53, (1, 37))
    real = (torch.arange(37) >= 9)[None]
    alone = ours(tokens[:, 9:], torch.ones(1, 28, dtype=torch.bool))["logits"]
    torch.testing.assert_close(ours(tokens, real)["logits"][:, 9:], alone, rtol=0, atol=1e-5)
