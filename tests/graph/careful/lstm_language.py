"""The LSTM language model as a careful person writes it, with the names of the composed model."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    def __init__(self, vocab: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab, 64)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.recurrence = nn.LSTM(64, 128, batch_first=True)
        self.head = nn.Linear(128, vocab)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        sequence, _ = self.recurrence(self.embedding(tokens))
        return {"logits": self.head(sequence)}
