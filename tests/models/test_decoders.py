"""Language models against transformers, with weights copied by the maps of `conf/weights`; small,
and skipped where it is not installed.
"""

import math

import pytest
import torch
from torch import nn

from blocks.graph import build
from tests.models.peers import assert_equal, shake

pytestmark = pytest.mark.filterwarnings("ignore")  # what the peers warn of is theirs


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 53,
    "max_position_embeddings": 32,
}
PARAMS = [
    "params.dim=64",
    "params.depth=2",
    "params.heads=4",
    "params.kv_heads=2",
    "params.hidden=96",
    "params.vocab=53",
    "params.length=32",
]


@pytest.mark.parametrize(
    ("model", "name", "of_config", "of_model"),
    [
        ("llama_7b", "Llama", {"rms_norm_eps": 1e-6}, []),
        ("qwen3_600m", "Qwen3", {"head_dim": 12}, ["attention.head_dim=12"]),
    ],
)
def test_decoders_equal_transformers(model, name, of_config, of_model):
    hf = pytest.importorskip("transformers")
    tied = {"tie_word_embeddings": model == "qwen3_600m"}
    base = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6 if of_model else 1e4}}
    config = getattr(hf, f"{name}Config")(**SIZES, **base, **tied, **of_config)
    peer = shake(getattr(hf, f"{name}ForCausalLM")(config))
    tokens = torch.randint(0, 53, (2, 13))
    assert_equal(
        build(model, [*PARAMS, *of_model], {}),
        peer,
        "transformers_llama",
        lambda m: m(tokens)["logits"],
        lambda m: m(tokens).logits,
    )


def test_gemma2_equals_transformers():
    """Windows, caps and four norms a layer; theirs multiply by 1 + weight."""
    hf = pytest.importorskip("transformers")
    config = hf.Gemma2Config(
        **SIZES,
        head_dim=12,
        query_pre_attn_scalar=12,
        sliding_window=4,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=30.0,
        attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )
    assert config.layer_types == ["sliding_attention", "full_attention"]
    peer = shake(hf.Gemma2ForCausalLM(config))
    sizes = ["params.window=4", "attention.head_dim=12", "attention.soft_cap=2.0"]
    ours = build("gemma2_2b", [*PARAMS, *sizes], {}).eval()
    tokens = torch.randint(0, 53, (2, 13))
    assert_equal(
        ours,
        peer,
        "transformers_gemma2",
        lambda m: m(tokens)["logits"],
        lambda m: m(tokens).logits,
        gradients=False,  # which the map would shift by 1, as the weights
    )


def test_llama_with_slower_frequencies_equals_transformers():
    hf = pytest.importorskip("transformers")
    scaled = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    config = hf.LlamaConfig(**SIZES, rope_parameters=scaled, tie_word_embeddings=True)
    ours = build("llama32_1b", [*PARAMS, "attention.rotary.scaling.trained=64"], {})
    tokens = torch.randint(0, 53, (2, 32))
    assert_equal(
        ours,
        shake(hf.LlamaForCausalLM(config)),
        "transformers_llama",
        lambda m: m(tokens)["logits"],
        lambda m: m(tokens).logits,
    )


def test_mixtral_equals_transformers():
    hf = pytest.importorskip("transformers")
    config = hf.MixtralConfig(
        **SIZES, rope_parameters={"rope_type": "default", "rope_theta": 1e6}, rms_norm_eps=1e-6
    )
    tokens = torch.randint(0, 53, (2, 13))
    assert_equal(
        build("mixtral_8x7b", PARAMS, {}),
        shake(hf.MixtralForCausalLM(config)),
        "transformers_mixtral",
        lambda m: m(tokens)["logits"],
        lambda m: m(tokens).logits,
    )


def test_deepseek_equals_transformers():
    """Latent attention, a dense layer before those of experts, groups, corrections and YaRN."""
    hf = pytest.importorskip("transformers")
    scaled = {
        "rope_type": "yarn",
        "rope_theta": 1e4,
        "factor": 4.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 8,
    }
    config = hf.DeepseekV3Config(
        **{**SIZES, "num_key_value_heads": 4},
        moe_intermediate_size=24,
        n_routed_experts=16,
        n_group=4,
        topk_group=2,
        num_experts_per_tok=3,
        first_k_dense_replace=1,
        q_lora_rank=20,
        kv_lora_rank=12,
        qk_rope_head_dim=16,
        qk_nope_head_dim=10,
        v_head_dim=6,
        rope_parameters=scaled,
    )
    peer = shake(hf.DeepseekV3ForCausalLM(config))
    for name, buffer in peer.named_buffers():
        if name.endswith("correction_bias"):
            nn.init.normal_(buffer, std=0.2)
    scale = 26**-0.5 * (0.1 * math.log(4) + 1) ** 2
    overrides = [
        *(line for line in PARAMS if "kv_heads" not in line),
        "params.dense=1",
        "params.expert_hidden=24",
        "params.experts=16",
        "params.top=3",
        "attention.q_rank=20",
        "attention.kv_rank=12",
        "attention.head_dim=16",
        "attention.content_dim=10",
        "attention.value_dim=6",
        f"attention.scale={scale}",
        "attention.rotary.scaling.factor=4.0",
        "attention.rotary.scaling.trained=8",
        "params.groups=4",
        "params.top_groups=2",
    ]
    tokens = torch.randint(0, 53, (2, 13))
    assert_equal(
        build("deepseek_v3", overrides, {}),
        peer,
        "transformers_deepseek",
        lambda m: m(tokens)["logits"],
        lambda m: m(tokens).logits,
    )


def test_gpt_oss_equals_transformers():
    """Sinks, windows, YaRN, and experts with biases; theirs lay gates and values in turn."""
    hf = pytest.importorskip("transformers")
    scaled = {
        "rope_type": "yarn",
        "rope_theta": 150000.0,
        "factor": 32.0,
        "truncate": False,
        "original_max_position_embeddings": 16,
    }
    config = hf.GptOssConfig(
        **SIZES,
        head_dim=16,
        num_local_experts=6,
        num_experts_per_tok=2,
        sliding_window=4,
        rope_parameters=scaled,
        attn_implementation="eager",
    )
    assert config.layer_types == ["sliding_attention", "full_attention"]
    peer = shake(hf.GptOssForCausalLM(config))
    overrides = [
        *PARAMS,
        "params.experts=6",
        "params.top=2",
        "params.window=4",
        "attention.head_dim=16",
        "attention.rotary.scaling.trained=16",
    ]
    ours = build("gpt_oss_20b", overrides, {}).eval()
    tokens = torch.randint(0, 53, (2, 13))
    assert_equal(
        ours,
        peer,
        "transformers_gpt_oss",
        lambda m: m(tokens)["logits"],
        lambda m: m(tokens).logits,
    )


@pytest.mark.slow
def test_dory_equals_transformers():
    """The whole depth, for the map counts layers; the second round sees the input of the first."""
    hf = pytest.importorskip("transformers", minversion="5.24")
    config = hf.DoryConfig(
        vocab_size=53,
        max_position_embeddings=32,
        hidden_size=16,
        intermediate_size=24,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=12,
        sliding_window=4,
    )
    peer = shake(hf.DoryForCausalLM(config))
    unit = config.initializer_range
    for name, value in peer.named_parameters():
        if value.dim() == 1 and "suv" not in name:  # kept in this unit
            nn.init.normal_(value, mean=unit, std=0.3 * unit)
    overrides = [
        "params.vocab=53",
        "params.length=32",
        "params.dim=16",
        "params.hidden=24",
        "params.heads=2",
        "params.kv_heads=1",
        "params.head_dim=12",
        "params.window=4",
    ]
    ours = build("dory_4b", overrides, {})
    tokens = torch.randint(0, 53, (2, 13))

    def compare(gradients):
        assert_equal(
            ours,
            peer,
            "transformers_dory",
            lambda m: m(tokens)["logits"],
            lambda m: m(tokens).logits,
            gradients=gradients,
        )

    compare(gradients=False)
    for module in peer.modules():  # they add 1e-6 to the square of a length, which gradients show
        if type(module).__name__ == "DoryL2Norm":
            module.eps = 0.0
    compare(gradients=True)
