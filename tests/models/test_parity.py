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
from tests.models.peers import CLASSES, assert_equal, image_facts, shake

pytestmark = pytest.mark.filterwarnings("ignore")  # what the peers warn of is theirs
GOLDEN = Path(__file__).parents[1] / "data" / "cat_golden.npz"


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


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


def test_vivit_equals_transformers():
    hf = pytest.importorskip("transformers")
    config = hf.VivitConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=192,
        image_size=20,
        num_frames=6,
        tubelet_size=[2, 4, 4],
        hidden_act="gelu",
        num_labels=CLASSES,
    )
    peer, x = shake(hf.VivitForVideoClassification(config)), torch.randn(2, 3, 6, 20, 20)
    video = {"channels": 3, "frames": 6, "height": 20, "width": 20}
    overrides = ["params.dim=48", "params.depth=2", "params.heads=3", "norm.epsilon=1e-6"]
    ours = build("vivit", overrides, {"video": video, "classes": CLASSES})
    frames = x.transpose(1, 2)
    assert_equal(
        ours, peer, "transformers_vit", lambda m: m(x)["logits"], lambda m: m(frames).logits
    )


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
    ("maxvit_t", "torchvision_maxvit", "torchvision", "maxvit_t", {}, []),
    (
        "swinv2_t",
        "timm_swinv2",
        "timm",
        "swinv2_tiny_window8_256",
        {"depths": (2, 2, 2, 2)},
        ["params.depths=[2,2,2,2]"],
    ),
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
    side = 256 if name.endswith("256") else 224
    peer, x = shake(make(name, num_classes=CLASSES, **arguments)), torch.randn(1, 3, side, side)
    ours = build(model, overrides, image_facts(side))
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
