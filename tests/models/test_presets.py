"""More models against transformers, with weights copied by the maps of `conf/weights`; small, and
skipped where it is not installed.
"""

import pytest
import torch

from blocks.graph import build
from tests.models.peers import assert_equal, image_facts, shake

pytestmark = pytest.mark.filterwarnings("ignore")  # what the peers warn of is theirs


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def hf():
    return pytest.importorskip("transformers")


VIT = {
    "hidden_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 384,
    "image_size": 64,
    "patch_size": 16,
}
T5 = ["params.dim=48", "params.depth=2", "params.heads=3", "params.hidden=64", "params.vocab=53"]


def test_dinov3_equals_transformers(hf):
    """Registers, rotary rows and columns, no bias of keys."""
    peer = shake(hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**VIT, num_register_tokens=4)))
    ours = build(
        "dinov3_s16", ["params.dim=96", "params.depth=2", "params.heads=3"], image_facts(64)
    )
    x = torch.randn(2, 3, 64, 64)
    assert_equal(
        ours,
        peer,
        "transformers_dinov3",
        lambda m: m(x)["tokens"],
        lambda m: m(x).last_hidden_state,
        gradients=False,  # theirs has a token that ours leaves out
    )


def test_albert_equals_transformers(hf):
    """One layer used three times."""
    config = hf.AlbertConfig(
        hidden_size=48,
        embedding_size=16,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=192,
        vocab_size=53,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    peer = shake(hf.AlbertModel(config))
    sizes = ["dim=48", "width=16", "depth=3", "heads=3", "vocab=53", "length=32"]
    ours = build("albert_base", [f"params.{size}" for size in sizes], {})
    tokens, types = torch.randint(0, 53, (2, 32)), torch.randint(0, 2, (2, 32))
    assert_equal(
        ours,
        peer,
        "transformers_albert",
        lambda m: m(tokens, types)["hidden"] + m(tokens, types)["pooled"].unsqueeze(1),
        lambda m: sum_of(m(tokens, token_type_ids=types)),
    )


def sum_of(out):
    return out.last_hidden_state + out.pooler_output.unsqueeze(1)


def released_positions(hf, dim):
    """Those of the released files, columns first; a new model of theirs has zeros."""
    module = hf.models.vit_mae.modeling_vit_mae
    rows_first = module.build_2d_sinusoidal_position_embedding(4, 4, dim, cls_token=True)
    rows, columns = rows_first.chunk(2, dim=-1)
    return torch.cat((columns, rows), dim=-1)


def test_mae_equals_transformers(hf):
    config = hf.ViTMAEConfig(
        **VIT,
        decoder_hidden_size=32,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=128,
        layer_norm_eps=1e-6,
    )
    peer = shake(hf.ViTMAEForPreTraining(config))
    for table in (peer.vit.embeddings.position_embeddings, peer.decoder.decoder_pos_embed):
        table.data.copy_(released_positions(hf, table.shape[-1]))
    sizes = ["dim=96", "depth=2", "decoder_dim=32", "decoder_depth=2", "decoder_heads=2"]
    ours = build(
        "mae_b16",
        [*(f"params.{size}" for size in sizes), "attention.heads=3", "norm.epsilon=1e-6"],
        image_facts(64),
    )
    x, noise = torch.randn(2, 3, 64, 64), torch.rand(2, 16)
    assert_equal(
        ours,
        peer,
        "transformers_mae",
        lambda m: m(x, noise=noise)["reconstruction"],
        lambda m: m(x, noise=noise).logits,
    )


def test_t5_equals_transformers(hf):
    """A bias that all layers of a side share, no division of scores, logits from the embedding."""
    config = hf.T5Config(
        d_model=48, d_kv=16, num_heads=3, d_ff=64, num_layers=2, vocab_size=53, dropout_rate=0.0
    )
    peer = shake(hf.T5ForConditionalGeneration(config))
    source, target = torch.randint(0, 53, (2, 11)), torch.randint(0, 53, (2, 7))
    assert_equal(
        build("t5_small", [*T5, "params.dropout=0.0"], {}),
        peer,
        "transformers_t5",
        lambda m: m(source=source, target=target)["logits"],
        lambda m: m(input_ids=source, decoder_input_ids=target).logits,
    )


def test_whisper_equals_transformers(hf):
    config = hf.WhisperConfig(
        d_model=48,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=192,
        decoder_ffn_dim=192,
        vocab_size=53,
        num_mel_bins=10,
        max_source_positions=12,
        max_target_positions=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    peer = hf.WhisperForConditionalGeneration(config)
    fixed = peer.model.encoder.embed_positions.weight.clone()
    shake(peer).model.encoder.embed_positions.weight.data.copy_(fixed)
    sizes = ["dim=48", "depth=2", "heads=3", "vocab=53", "length=16", "bands=10", "frames=24"]
    ours = build("whisper_tiny", [f"params.{size}" for size in sizes], {})
    sound, target = torch.randn(2, 10, 24), torch.randint(0, 53, (2, 16))
    assert_equal(
        ours,
        peer,
        "transformers_whisper",
        lambda m: m(sound, target)["logits"],
        lambda m: m(input_features=sound, decoder_input_ids=target).logits,
    )


def test_clip_equals_transformers(hf):
    """Two towers, the last word, a learned temperature."""
    text = {
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": 53,
        "max_position_embeddings": 9,
        "eos_token_id": 2,  # with which the last word is the highest number
    }
    vision = {**VIT, "patch_size": 32}
    config = hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=20)
    peer = shake(hf.CLIPModel(config))
    sizes = ["dim=96", "depth=2", "heads=3", "side=64", "text_dim=32", "text_depth=2"]
    sizes += ["text_heads=2", "vocab=53", "length=9", "projection=20"]
    ours = build("clip_b32", [f"params.{size}" for size in sizes], {})
    image, words = torch.randn(2, 3, 64, 64), torch.stack([torch.randperm(53)[:9] for _ in "ab"])
    assert_equal(
        ours,
        peer,
        "transformers_clip",
        lambda m: similarities(m(image, words)),
        lambda m: m(input_ids=words, pixel_values=image).logits_per_image,
    )


def similarities(out):
    return out["image_projection"] @ out["text_projection"].T


def test_perceiver_equals_transformers(hf):
    """Latents read what is no padding; queries and keys are narrower than values."""
    config = hf.PerceiverConfig(
        num_latents=7,
        d_latents=40,
        d_model=24,
        num_self_attends_per_block=2,
        qk_channels=256,
        v_channels=40,
        vocab_size=53,
        max_position_embeddings=12,
    )
    peer = shake(hf.PerceiverForMaskedLM(config))
    sizes = ["dim=24", "vocab=53", "length=12", "latents=7", "latent_dim=40", "depth=2"]
    mask = {"tokens": 12, "dtype": "bool"}
    ours = build("perceiver_io", [f"params.{size}" for size in sizes], {"padding_mask": mask})
    tokens, real = torch.randint(0, 53, (2, 12)), torch.arange(12) < torch.tensor([[12], [9]])
    assert_equal(
        ours,
        peer,
        "transformers_perceiver",
        lambda m: m(tokens, real)["logits"],
        lambda m: m(input_ids=tokens, attention_mask=real).logits,
    )


@pytest.mark.slow
def test_detr_equals_transformers(hf):
    """Classes and boxes, of an image that is no square."""
    pytest.importorskip("timm")  # has the ResNet of the published file
    config = hf.DetrConfig(
        num_labels=5,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_queries=7,
    )
    peer = shake(hf.DetrForObjectDetection(config))
    sizes = ["dim=32", "depth=2", "heads=2", "hidden=48", "queries=7"]
    facts = {"image": {"channels": 3, "height": 64, "width": 96}, "classes": 5}
    ours, x = (
        build("detr_r50", [f"params.{size}" for size in sizes], facts),
        torch.randn(2, 3, 64, 96),
    )
    assert_equal(
        ours,
        peer,
        "transformers_detr",
        lambda m: torch.cat((m(x)["logits"], m(x)["boxes"]), dim=-1),
        lambda m: torch.cat((m(x).logits, m(x).pred_boxes), dim=-1),
        gradients=False,  # theirs trains a part of the ResNet
    )
