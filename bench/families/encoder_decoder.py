"""The encoder-decoder Transformer of the paper, small: 3 + 3 layers, 256 wide, 8,000 tokens known,
16 pairs of 64.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.compare.contender import Contender, Family
from bench.families.ours import built, macs
from tasks.learn.losses.chunked_loss import VocabularyLoss

DIM, DEPTH, HEADS, HIDDEN, VOCAB, BATCH, TOKENS = 256, 3, 4, 1024, 8000, 16, 64
LARGE = 256  # pairs, on a GPU
WORDS = [
    f"params.dim={DIM}",
    f"params.depth={DEPTH}",
    f"params.heads={HEADS}",
    f"params.hidden={HIDDEN}",
    f"params.vocab={VOCAB}",
    f"params.length={TOKENS}",
    "params.dropout=0.0",
]


def sinusoid() -> Tensor:
    angle = torch.arange(TOKENS)[:, None] / 10000 ** (torch.arange(0, DIM, 2) / DIM)
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)


class Plain(nn.Module):
    """torch.nn's stacks between an embedding and the head that is tied to it; no final norms, as in
    the paper.
    """

    def __init__(self) -> None:
        super().__init__()
        options: dict[str, Any] = {"dim_feedforward": HIDDEN, "dropout": 0.0, "batch_first": True}
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(DIM, HEADS, **options), DEPTH)
        decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(DIM, HEADS, **options), DEPTH)
        stacks = nn.Transformer(
            DIM, HEADS, custom_encoder=encoder, custom_decoder=decoder, batch_first=True
        )
        self.encoder, self.decoder = stacks.encoder, stacks.decoder
        self.embedding, self.head = nn.Embedding(VOCAB, DIM), nn.Linear(DIM, VOCAB, bias=False)
        self.head.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=DIM**-0.5)
        self.register_buffer("position", sinusoid(), persistent=False)
        self.register_buffer(
            "past", nn.Transformer.generate_square_subsequent_mask(TOKENS), persistent=False
        )

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory = self.encoder(self.embedding(source) * math.sqrt(DIM) + self.position)
        target = self.embedding(target) * math.sqrt(DIM) + self.position
        return self.head(self.decoder(target, memory, tgt_mask=self.past, tgt_is_causal=True))


def make_marian(tokens: int, **options: Any) -> nn.Module:
    """The network of transformers, of the same sizes, for as many tokens."""
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
        dropout=0.0,
        activation_function="relu",
        scale_embedding=True,
        max_position_embeddings=tokens,
        **options,
    )
    return MarianMTModel(config)


def family(device: str, large: bool) -> Family:
    batch = LARGE if large else BATCH
    generator = torch.Generator().manual_seed(0)
    source, target, label = (
        torch.randint(VOCAB, (batch, TOKENS), generator=generator).to(device) for _ in range(3)
    )

    def dougong() -> Contender:
        network = built("transformer_base", WORDS, {}).to(device)
        loss, inputs = VocabularyLoss(network), {"source": source, "target": target}
        return Contender(
            network, lambda: loss(inputs, label).loss, lambda: network(**inputs)["logits"]
        )

    def plain() -> Contender:
        model = Plain().to(device)
        loss = lambda: F.cross_entropy(model(source, target).flatten(0, 1), label.flatten())  # noqa: E731
        return Contender(model, loss, lambda: model(source, target))

    def marian() -> Contender:
        model = make_marian(TOKENS, pad_token_id=VOCAB - 1, use_cache=False).to(device)
        given = {"input_ids": source, "decoder_input_ids": target}
        return Contender(
            model,
            lambda: model(**given, labels=label, use_cache=False).loss,
            lambda: model(**given).logits,
        )

    return Family(
        "encoder_decoder",
        f"{DEPTH}+{DEPTH} layers, {DIM} wide, vocabulary {VOCAB:,}, {batch}x{TOKENS}",
        {"dougong": dougong, "torch.nn.Transformer": plain, "transformers": marian},
        maps={"torch.nn.Transformer": "torch_transformer"},
        near={"transformers": "sines and cosines in halves, a bias of the logits"},
        flops=lambda: 6 * batch * macs("transformer_base", WORDS, {}),
    )
