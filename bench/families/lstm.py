"""Two LSTMs, one upon the other, 512 wide, between an embedding and a head: 16 texts of 64 tokens,
8,000 known.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.compare.contender import Contender, Family
from bench.families.language import IGNORED, following
from bench.families.ours import built, macs, memory
from tasks.learn.losses.chunked_loss import VocabularyLoss

DIM, DEPTH, VOCAB, BATCH, TOKENS = 512, 2, 8000, 16, 64
LARGE = 128  # texts, on a GPU
WORDS = [f"params.dim={DIM}", f"params.hidden={DIM}", f"params.depth={DEPTH}"]
FACTS = {"tokens": {"tokens": TOKENS, "vocab": VOCAB, "dtype": "int"}, "vocab": VOCAB}


class Plain(nn.Module):
    """Embedding, torch.nn.LSTM, head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(VOCAB, DIM), nn.Linear(DIM, VOCAB)
        self.lstm = nn.LSTM(DIM, DIM, DEPTH, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.embedding(tokens))[0])


def family(device: str, large: bool) -> Family:
    batch = LARGE if large else BATCH
    tokens = torch.randint(VOCAB, (batch, TOKENS), generator=torch.Generator().manual_seed(0)).to(
        device
    )
    label = following(tokens)

    def dougong() -> Contender:
        network = built("lstm_language", WORDS, FACTS).to(device)
        loss = VocabularyLoss(network)
        return Contender(
            network, lambda: loss({"tokens": tokens}, label).loss, lambda: network(tokens)["logits"]
        )

    def plain() -> Contender:
        model = Plain().to(device)

        def loss() -> Tensor:
            return F.cross_entropy(
                model(tokens).flatten(0, 1), label.flatten(), ignore_index=IGNORED
            )

        return Contender(model, loss, lambda: model(tokens))

    return Family(
        "lstm",
        f"{DEPTH} layers, {DIM} wide, vocabulary {VOCAB:,}, {batch}x{TOKENS}",
        {"dougong": dougong, "torch.nn": plain},
        maps={"torch.nn": "bench/families/lstm.yaml"},
        flops=lambda: 6 * batch * macs("lstm_language", WORDS, FACTS),
        items=(tokens.numel(), "tokens"),
        memory=lambda: memory("lstm_language", WORDS, FACTS, batch),
    )
