"""Judge two sets of embeddings by whether the partners of each find each other."""

import torch
import torch.nn.functional as F
from torch import Tensor

PIECE = 1024  # queries that are compared at once


def recall_at(
    queries: tuple[Tensor, Tensor], keys: tuple[Tensor, Tensor], counts: tuple[int, ...]
) -> list[float]:
    """Return for each count the share of queries with a key of their group among so many of the
    largest products.

    Args:
        queries: (queries, dim), and the group of each.
        keys: (keys, dim), and the group of each; a key is right for a query of its group.
        counts: how many keys are looked at.

    Source:
        Recall at K of Karpathy and Li 2015, arXiv:1412.2306, section 4.2; as there, one of several
        right keys is enough.
    """
    (asked, wanted), (given, owner) = queries, keys
    most = min(max(counts), len(given))
    found = []
    for start in range(0, len(asked), PIECE):
        rows = slice(start, start + PIECE)
        nearest = (asked[rows] @ given.T).topk(most, 1).indices
        found.append(owner[nearest] == wanted[rows, None])
    hits = torch.cat(found)
    return [float(hits[:, :count].any(1).float().mean()) for count in counts]


def average_prompts(text: Tensor, owner: Tensor) -> Tensor:
    """Return the direction of each class (classes, dim): that of the mean of its texts.

    Args:
        text: (prompts, dim), unit vectors.
        owner: (prompts,), the class of each.

    Source:
        Radford et al. 2021 (CLIP), arXiv:2103.00020, section 3.1.4: the ensemble of prompts.
    """
    total = text.new_zeros(int(owner.max()) + 1, text.shape[1]).index_add(0, owner, text)
    return F.normalize(total, dim=1)


def pair_loss(image: Tensor, text: Tensor) -> float:
    """Return the symmetric cross-entropy over all pairs of a part, computed in pieces.

    Args:
        image: (pairs, dim), scaled.
        text: (pairs, dim).
    """
    total = 0.0
    for queries, keys in ((image, text), (text, image)):
        for start in range(0, len(queries), PIECE):
            scores = queries[start : start + PIECE] @ keys.T
            own = torch.arange(start, start + len(scores))
            total += float(F.cross_entropy(scores, own, reduction="sum"))
    return total / (2 * len(image))
