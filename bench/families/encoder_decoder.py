"""The encoder-decoder Transformer, small: 3 + 3 layers, 256 wide, vocabulary 8,000, 16 pairs of 64.

On a GPU as large as the paper has it: 6 + 6 layers, 512 wide, vocabulary 37,000, 256 pairs.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.compare.contender import Contender, Family
from bench.families.language import Size
from bench.families.ours import built, macs, memory
from tasks.learn.losses.chunked_loss import VocabularyLoss

TOKENS = 64


@dataclass(frozen=True)
class PairSize(Size):
    """Of an encoder and a decoder, and of their batch."""

    hidden: int = 1024
    vocab: int = 8000

    @property
    def overrides(self) -> list[str]:
        return [*super().overrides, f"params.hidden={self.hidden}", f"params.vocab={self.vocab}"]


SMALL = PairSize(256, 3, 4, 16, TOKENS)
BASE = PairSize(512, 6, 8, 256, TOKENS, 2048, 37000)
VOCAB, WORDS = SMALL.vocab, SMALL.overrides


def sinusoid(dim: int) -> Tensor:
    angle = torch.arange(TOKENS)[:, None] / 10000 ** (torch.arange(0, dim, 2) / dim)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)


class Plain(nn.Module):
    """torch.nn's stacks between an embedding and the head that is tied to it; no final norms, as in
    the paper.
    """

    def __init__(self, size: PairSize) -> None:
        super().__init__()
        dim, heads, depth = size.dim, size.heads, size.depth
        options: dict[str, Any] = {
            "dim_feedforward": size.hidden,
            "dropout": 0,
            "batch_first": True,
        }
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(dim, heads, **options), depth)
        decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(dim, heads, **options), depth)
        stacks = nn.Transformer(
            dim, heads, custom_encoder=encoder, custom_decoder=decoder, batch_first=True
        )
        self.encoder, self.decoder = stacks.encoder, stacks.decoder
        self.scale = math.sqrt(dim)
        self.embedding = nn.Embedding(size.vocab, dim)
        self.head = nn.Linear(dim, size.vocab, bias=False)
        self.head.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.register_buffer("position", sinusoid(dim), persistent=False)
        self.register_buffer(
            "past", nn.Transformer.generate_square_subsequent_mask(TOKENS), persistent=False
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory = self.encoder(self.embedding(source) * self.scale + self.position)
        target = self.embedding(target) * self.scale + self.position
        return self.head(self.decoder(target, memory, tgt_mask=self.past, tgt_is_causal=True))


def make_marian(tokens: int, size: PairSize = SMALL, **options: Any) -> nn.Module:
    """The network of transformers, of the same sizes, for as many tokens."""
    from transformers import MarianConfig, MarianMTModel

    config = MarianConfig(
        vocab_size=size.vocab,
        d_model=size.dim,
        encoder_layers=size.depth,
        decoder_layers=size.depth,
        encoder_attention_heads=size.heads,
        decoder_attention_heads=size.heads,
        encoder_ffn_dim=size.hidden,
        decoder_ffn_dim=size.hidden,
        dropout=0.0,
        activation_function="relu",
        scale_embedding=True,
        max_position_embeddings=tokens,
        **options,
    )
    return MarianMTModel(config)


def family(device: str, large: bool) -> Family:
    size = BASE if large else SMALL
    batch = size.batch
    generator = torch.Generator().manual_seed(0)
    source, target, label = (
        torch.randint(size.vocab, (batch, TOKENS), generator=generator).to(device) for _ in range(3)
    )

    def dougong() -> Contender:
        network = built("transformer_base", size.overrides, {}).to(device)
        loss, inputs = VocabularyLoss(network), {"source": source, "target": target}
        return Contender(
            network, lambda: loss(inputs, label).loss, lambda: network(**inputs)["logits"]
        )

    def plain() -> Contender:
        model = Plain(size).to(device)
        loss = lambda: F.cross_entropy(model(source, target).flatten(0, 1), label.flatten())  # noqa: E731
        return Contender(model, loss, lambda: model(source, target))

    def marian() -> Contender:
        model = make_marian(TOKENS, size, pad_token_id=size.vocab - 1, use_cache=False).to(device)
        given = {"input_ids": source, "decoder_input_ids": target}
        return Contender(
            model,
            lambda: model(**given, labels=label, use_cache=False).loss,
            lambda: model(**given).logits,
        )

    return Family(
        "encoder_decoder",
        f"{size.depth}+{size.depth} layers, {size.dim} wide, vocabulary {size.vocab:,}, "
        f"{batch}x{TOKENS}",
        {"dougong": dougong, "torch.nn.Transformer": plain, "transformers": marian},
        maps={"torch.nn.Transformer": "torch_transformer"},
        near={"transformers": "sines and cosines in halves, a bias of the logits"},
        flops=lambda: 6 * batch * macs("transformer_base", size.overrides, {}),
        items=(2 * target.numel(), "tokens"),
        memory=lambda: memory("transformer_base", size.overrides, {}, batch),
    )
