"""The texts of each class, with which a network of two towers classifies without a head."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tasks.data.sequences.base import pad_rows
from tasks.data.text.tokenizer import PAD, Tokenizer


@dataclass(frozen=True)
class Prompts:
    """The texts of the classes.

    Args:
        text: (prompts, tokens).
        owner: (prompts,), the number of the class that each stands for.
    """

    text: Tensor
    owner: Tensor

    def batch(self) -> dict[str, Tensor]:
        """Return the inputs of the tower of texts."""
        return {"text": self.text, "text_mask": self.text != PAD}


def encode_prompts(texts: Sequence[Sequence[str]], tokenizer: Tokenizer, length: int) -> Prompts:
    """Return the prompts of classes that have one text or several each.

    Args:
        texts: of each class.
        tokenizer: of the data.
        length: tokens of a row.
    """
    rows, owner = [], []
    for number, group in enumerate(texts):
        for text in group:
            rows.append(tokenizer.encode(text))
            owner.append(number)
    return Prompts(pad_rows(rows, length, PAD), torch.tensor(owner))
