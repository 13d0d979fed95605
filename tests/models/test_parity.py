"""Whole models against the reference implementations, with weights copied by the maps of
`conf/weights`.

transformers, timm and torchvision are used where they are installed; torch.nn and the CAT values
are always there.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from blocks.graph import build
from blocks.graph.weights import load_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # what the peers warn of is theirs
GOLDEN = Path(__file__).parents[1] / "data" / "cat_golden.npz"
CLASSES = 5


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def image_facts(size, classes=CLASSES):
    return {"image": {"channels": 3, "height": size, "width": size}, "classes": classes}


def shake(peer):
    """Give every tensor a value of its own: at their start, biases are zero and norms do
    nothing.
    """
    for name, value in peer.named_parameters():
        nn.init.normal_(
            value,
            std=0.3 if value.dim() < 2 else 0.1 if value.dim() < 4 else value[0].numel() ** -0.5,
        )
        if value.dim() == 1 and name.endswith("weight"):
            value.data += 1
    for name, value in peer.named_buffers():
        if name.endswith("running_var"):
            nn.init.uniform_(value, 0.5, 1.5)
        elif name.endswith("running_mean"):
            nn.init.normal_(value, std=0.2)
    return peer.eval()


def assert_equal(ours, peer, source_map, run_ours, run_peer, *, extra=None, gradients=True):
    """Equal logits and, brought through the same map, equal gradients."""
    state = {**peer.state_dict(), **(extra.state_dict() if extra is not None else {})}
    report = load_weights(ours.eval(), state, source_map)
    assert not report.missing
    assert not report.left_over
    a, b = run_ours(ours), run_peer(peer)
    assert a.shape == b.shape
    scale = max(1.0, b.abs().max().item())
    assert (a - b).abs().max() < 1e-5 * scale
    if not gradients:
        return
    direction = torch.randn_like(a)
    for result in (a, b):
        (result * direction).sum().backward()
    theirs = {
        name: torch.zeros_like(value) if value.grad is None else value.grad
        for module in (peer, extra)
        if module is not None
        for name, value in module.named_parameters(remove_duplicate=False)
    }
    got = {name: value.grad.clone() for name, value in ours.named_parameters()}
    load_weights(
        ours,
        {**{name: value for name, value in state.items() if name not in theirs}, **theirs},
        source_map,
    )
    for name, value in ours.named_parameters():
        scale = max(1.0, value.abs().max().item())
        assert (got[name] - value).abs().max() < 1e-5 * scale, name


# ------------------------------------------------------------------------------------------------
# transformers


def test_vit_equals_transformers():
    hf = pytest.importorskip("transformers")
    config = hf.ViTConfig(
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=384,
        image_size=48,
        patch_size=16,
        num_labels=CLASSES,
    )
    peer, x = shake(hf.ViTForImageClassification(config)), torch.randn(2, 3, 48, 48)
    overrides = ["params.dim=96", "params.depth=3", "attention.heads=3", "norm.epsilon=1e-12"]
    ours = build("vit_ti16", overrides, image_facts(48))
    assert_equal(ours, peer, "transformers_vit", lambda m: m(x)["logits"], lambda m: m(x).logits)


@pytest.mark.parametrize("image", [32, 28])  # 28: windows do not tile the grid, which is padded
def test_swin_equals_transformers(image):
    hf = pytest.importorskip("transformers")
    config = hf.SwinConfig(
        image_size=image,
        patch_size=2,
        embed_dim=32,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
        num_labels=CLASSES,
    )
    peer, x = shake(hf.SwinForImageClassification(config)), torch.randn(2, 3, image, image)
    ours = build("swin", ["params.patch=2"], image_facts(image))
    assert_equal(ours, peer, "transformers_swin", lambda m: m(x)["logits"], lambda m: m(x).logits)


@pytest.mark.parametrize("image", [64, 96])
def test_segformer_equals_transformers(image):
    hf = pytest.importorskip("transformers")
    config = hf.SegformerConfig(
        hidden_sizes=[16, 32, 40, 64],
        depths=[1, 2, 1, 1],
        num_attention_heads=[1, 2, 5, 8],
        decoder_hidden_size=48,
        num_labels=CLASSES,
    )
    peer = shake(hf.SegformerForSemanticSegmentation(config))
    x = torch.randn(2, 3, image, image)
    overrides = [
        "params.dims=[16,32,40,64]",
        "params.depths=[1,2,1,1]",
        "params.width=48",
        "params.epsilon=1e-5",
    ]
    ours = build("segformer_b0", overrides, image_facts(image))
    source_map = "transformers_segformer"
    assert_equal(ours, peer, source_map, lambda m: m(x)["logits"], lambda m: m(x).logits)


def test_bert_equals_transformers_with_padding():
    hf = pytest.importorskip("transformers")
    config = hf.BertConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        vocab_size=53,
        max_position_embeddings=32,
    )
    peer = shake(hf.BertModel(config))
    tokens, types = torch.randint(0, 53, (2, 13)), torch.randint(0, 2, (2, 13))
    real = torch.arange(13) < torch.tensor([[13], [7]])
    overrides = [
        "params.dim=64",
        "params.depth=2",
        "params.heads=4",
        "params.vocab=53",
        "params.length=32",
    ]
    ours = build("bert_base", overrides, {"padding_mask": {"tokens": 32, "dtype": "bool"}})

    def run_ours(model):
        result = model(tokens=tokens, token_types=types, padding_mask=real)
        return torch.cat([result["hidden"][real], result["pooled"]])

    def run_peer(model):
        result = model(tokens, token_type_ids=types, attention_mask=real.long())
        return torch.cat([result.last_hidden_state[real], result.pooler_output])

    assert_equal(ours, peer, "transformers_bert", run_ours, run_peer)


def test_gpt2_equals_transformers():
    hf = pytest.importorskip("transformers")
    config = hf.GPT2Config(
        n_embd=64,
        n_layer=2,
        n_head=4,
        vocab_size=53,
        n_positions=32,
        bos_token_id=0,
        eos_token_id=0,
    )
    peer, tokens = shake(hf.GPT2LMHeadModel(config)), torch.randint(0, 53, (2, 13))
    ours = build(
        "gpt2",
        [
            "params.dim=64",
            "params.depth=2",
            "params.heads=4",
            "params.vocab=53",
            "params.length=32",
        ],
        {},
    )
    assert_equal(
        ours, peer, "transformers_gpt2", lambda m: m(tokens)["logits"], lambda m: m(tokens).logits
    )


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
    state = {
        name: value + 1 if name.endswith("norm.weight") else value
        for name, value in peer.state_dict().items()
    }
    layer, theirs = "layers.{i}", "model.layers.{i}"
    lines = {
        "embedding.weight": "model.embed_tokens.weight",
        f"{layer}.attention.norm.weight": f"{theirs}.input_layernorm.weight",
        f"{layer}.attention.output.weight": f"{theirs}.post_attention_layernorm.weight",
        f"{layer}.mlp.norm.weight": f"{theirs}.pre_feedforward_layernorm.weight",
        f"{layer}.mlp.output.weight": f"{theirs}.post_feedforward_layernorm.weight",
        f"{layer}.attention.inner.qkv.weight": {
            "from": [f"{theirs}.self_attn.{part}_proj.weight" for part in "qkv"]
        },
        f"{layer}.attention.inner.project.weight": f"{theirs}.self_attn.o_proj.weight",
        f"{layer}.mlp.inner.gate.weight": f"{theirs}.mlp.gate_proj.weight",
        f"{layer}.mlp.inner.value.weight": f"{theirs}.mlp.up_proj.weight",
        f"{layer}.mlp.inner.project.weight": f"{theirs}.mlp.down_proj.weight",
        "norm.weight": "model.norm.weight",
        "head.weight": "lm_head.weight",
    }
    report = load_weights(ours, state, {"map": lines})
    assert not report.missing
    assert not report.left_over
    tokens = torch.randint(0, 53, (2, 13))
    found, wanted = ours(tokens)["logits"], peer(tokens).logits
    assert wanted.abs().max() > 1
    assert (found - wanted).abs().max() < 1e-5 * max(1.0, wanted.abs().max().item())


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
        "experts.body.routed.groups=4",
        "experts.body.routed.top_groups=2",
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
    state = {}
    for name, value in peer.state_dict().items():
        if ".gate_up_proj" in name:
            value = torch.cat((value[..., ::2], value[..., 1::2]), dim=-1)
        state[name] = value
    layer, theirs = "layers.{i}", "model.layers.{i}"
    lines = {
        "embedding.weight": "model.embed_tokens.weight",
        f"{layer}.attention.norm.weight": f"{theirs}.input_layernorm.weight",
        f"{layer}.attention.inner.sinks": f"{theirs}.self_attn.sinks",
        f"{layer}.attention.inner.qkv.{{p}}": {
            "from": [f"{theirs}.self_attn.{part}_proj.{{p}}" for part in "qkv"]
        },
        f"{layer}.attention.inner.project.{{p}}": f"{theirs}.self_attn.o_proj.{{p}}",
        f"{layer}.mlp.norm.weight": f"{theirs}.post_attention_layernorm.weight",
        f"{layer}.mlp.inner.experts.router.{{p}}": f"{theirs}.mlp.router.{{p}}",
        f"{layer}.mlp.inner.experts.up_weight": f"{theirs}.mlp.experts.gate_up_proj",
        f"{layer}.mlp.inner.experts.up_bias": f"{theirs}.mlp.experts.gate_up_proj_bias",
        f"{layer}.mlp.inner.experts.down_weight": f"{theirs}.mlp.experts.down_proj",
        f"{layer}.mlp.inner.experts.down_bias": f"{theirs}.mlp.experts.down_proj_bias",
        "norm.weight": "model.norm.weight",
        "head.weight": "lm_head.weight",
    }
    report = load_weights(ours, state, {"map": lines})
    assert not report.missing
    assert not report.left_over
    tokens = torch.randint(0, 53, (2, 13))
    found, wanted = ours(tokens)["logits"], peer(tokens).logits
    assert wanted.abs().max() > 1
    assert (found - wanted).abs().max() < 1e-5 * max(1.0, wanted.abs().max().item())


@pytest.mark.parametrize(
    ("name", "kind", "widths"),
    [
        ("resnet18", "basic", [64, 128, 256, 512]),
        ("resnet50", "bottleneck", [256, 512, 1024, 2048]),
    ],
)
def test_resnet_equals_transformers(name, kind, widths):
    hf = pytest.importorskip("transformers")
    config = hf.ResNetConfig(
        depths=[2, 2, 2, 2], hidden_sizes=widths, layer_type=kind, num_labels=CLASSES
    )
    peer, x = shake(hf.ResNetForImageClassification(config)), torch.randn(2, 3, 64, 64)
    ours = build(name, ["params.depths=[2,2,2,2]"], image_facts(64))
    assert_equal(
        ours,
        peer,
        "transformers_resnet",
        lambda m: m(x)["logits"],
        lambda m: m(x).logits,
        gradients=False,
    )


# ------------------------------------------------------------------------------------------------
# timm, torchvision

PEERS = [
    ("vit_ti16", "timm_vit", "timm", "vit_tiny_patch16_224", {"depth": 2}, ["params.depth=2"]),
    (
        "swin_t",
        "timm_swin",
        "timm",
        "swin_tiny_patch4_window7_224",
        {"depths": (2, 2, 2, 2)},
        ["params.depths=[2,2,2,2]"],
    ),
    ("resnet50", "torchvision_resnet", "timm", "resnet50", {}, []),
    ("convnext_t", "timm_convnext", "timm", "convnext_tiny", {}, []),
    ("convnextv2_t", "timm_convnext", "timm", "convnextv2_tiny", {}, []),
    ("efficientnet_b0", "torchvision_efficientnet", "torchvision", "efficientnet_b0", {}, []),
    ("densenet121", "torchvision_densenet", "torchvision", "densenet121", {}, []),
    ("vit_b16", "torchvision_vit", "torchvision", "vit_b_16", {}, []),
    ("swin_t", "torchvision_swin", "torchvision", "swin_t", {}, []),
    ("resnet18", "torchvision_resnet", "torchvision", "resnet18", {}, []),
    ("resnet50", "torchvision_resnet", "torchvision", "resnet50", {}, []),
    ("vgg16", "torchvision_vgg", "torchvision", "vgg16", {}, []),
    ("alexnet", "torchvision_alexnet", "torchvision", "alexnet", {}, []),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "source_map", "library", "name", "arguments", "overrides"), PEERS
)
def test_images_equal_timm_and_torchvision(model, source_map, library, name, arguments, overrides):
    peers = pytest.importorskip(library)
    make = (
        peers.create_model
        if library == "timm"
        else lambda name, **kw: getattr(peers.models, name)(**kw)
    )
    peer, x = shake(make(name, num_classes=CLASSES, **arguments)), torch.randn(1, 3, 224, 224)
    ours = build(model, overrides, image_facts(224))
    assert_equal(ours, peer, source_map, lambda m: m(x)["logits"], lambda m: m(x), gradients=False)


# ------------------------------------------------------------------------------------------------
# torch.nn

D, HEADS, HIDDEN, VOCAB, DEPTH = 24, 3, 40, 53, 2
SOURCE, TARGET = 11, 7


class Around(nn.Module):
    """What stands around a torch.nn stack in our models: an embedding, and a head that may be tied
    to it.
    """

    def __init__(self, dim, out, tied):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, dim)
        self.head = nn.Linear(out, VOCAB, bias=not tied)
        if tied:
            self.head.weight = self.embedding.weight


def sinusoid(tokens, dim):
    angle = torch.arange(tokens)[:, None] / 10000 ** (torch.arange(0, dim, 2) / dim)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)


def torch_transformer(norm_first):
    """torch.nn.Transformer; post-norm stacks of the paper have no final norms."""
    shared = {
        "dim_feedforward": HIDDEN,
        "dropout": 0.0,
        "batch_first": True,
        "norm_first": norm_first,
    }
    if norm_first:
        return nn.Transformer(D, HEADS, DEPTH, DEPTH, **{**shared, "dim_feedforward": 4 * D})
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(D, HEADS, **shared), DEPTH, enable_nested_tensor=False
    )
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(D, HEADS, **shared), DEPTH)
    return nn.Transformer(
        D, HEADS, custom_encoder=encoder, custom_decoder=decoder, batch_first=True
    )


@pytest.mark.parametrize("model", ["transformer_base", "transformer"])
def test_the_encoder_decoder_equals_torch_nn_transformer(model):
    peer, around = (
        shake(torch_transformer(norm_first=model == "transformer")),
        shake(Around(D, D, tied=True)),
    )
    source, target = torch.randint(0, VOCAB, (2, SOURCE)), torch.randint(0, VOCAB, (2, TARGET))
    real = torch.arange(SOURCE) < torch.tensor([[SOURCE], [5]])
    hidden = 4 * D if model == "transformer" else HIDDEN
    overrides = [
        f"params.{key}={value}"
        for key, value in {
            "dim": D,
            "depth": DEPTH,
            "heads": HEADS,
            "hidden": hidden,
            "vocab": VOCAB,
        }.items()
    ]
    overrides += [f"params.length={SOURCE}"] * (model == "transformer_base")
    tokens = {"tokens": SOURCE, "dtype": "int", "vocab": VOCAB}
    facts = {
        "source": tokens,
        "target": {**tokens, "tokens": TARGET},
        "vocab": VOCAB,
        "source_mask": {"tokens": SOURCE, "dtype": "bool"},
    }
    ours = build(model, overrides, facts)

    def run_peer(stack):
        source_in, target_in = (
            around.embedding(x) * math.sqrt(D) + sinusoid(x.shape[1], D) for x in (source, target)
        )
        past = nn.Transformer.generate_square_subsequent_mask(TARGET)
        padding = {"src_key_padding_mask": ~real, "memory_key_padding_mask": ~real}
        return around.head(
            stack(source_in, target_in, tgt_mask=past, tgt_is_causal=True, **padding)
        )

    run_ours = lambda m: m(source=source, target=target, source_mask=real)["logits"]  # noqa: E731
    assert_equal(ours, peer, "torch_transformer", run_ours, run_peer, extra=around)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize(("option", "layers"), [("", 2), ("_graph", 1)])
def test_recurrences_fused_and_written_out_equal_torch_nn(kind, option, layers):
    dim, hidden = 10, 14
    peer = shake(
        {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind](dim, hidden, layers, batch_first=True)
    )
    around, tokens = shake(Around(dim, hidden, tied=False)), torch.randint(0, VOCAB, (2, SOURCE))
    facts = {"tokens": {"tokens": SOURCE, "dtype": "int", "vocab": VOCAB}, "vocab": VOCAB}
    overrides = [f"recurrence={kind}{option}", f"params.dim={dim}", f"params.hidden={hidden}"]
    overrides += [f"params.depth={layers}"] * (layers > 1)
    ours = build(f"{kind}_language", overrides, facts)
    run_peer = lambda m: around.head(m(around.embedding(tokens))[0])  # noqa: E731
    assert_equal(
        ours, peer, "torch_recurrence", lambda m: m(tokens)["logits"], run_peer, extra=around
    )


# ------------------------------------------------------------------------------------------------
# CAT


def test_cat_equals_the_authors_stage_by_stage():
    golden = np.load(GOLDEN)
    state = {
        key.removeprefix("weight/"): torch.from_numpy(golden[key])
        for key in golden
        if key.startswith("weight/")
    }
    ours = build(
        "cat_t",
        ["params.dim=32", "params.depths=[1,1]", "params.heads=[2,4]"],
        image_facts(56, classes=10),
    )
    report = load_weights(ours.double().eval(), state, "cat")
    assert len(report.matched) == len(state) == len(ours.state_dict())
    seen = {}
    for stage, path in enumerate(
        ("stages.1.merge", "stages.1")
    ):  # the authors merge at the end of a stage
        ours.get_submodule(path).register_forward_hook(
            lambda module, inputs, output, stage=stage: seen.update({stage: output})
        )
    logits = ours(torch.from_numpy(golden["input"]).double())["logits"]
    for stage, value in seen.items():
        assert torch.allclose(
            value.flatten(1, 2),
            torch.from_numpy(golden[f"feature/stage{stage}"]),
            atol=1e-10,
            rtol=0,
        )
    assert torch.allclose(logits, torch.from_numpy(golden["logits"]), atol=1e-10, rtol=0)
