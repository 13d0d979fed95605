"""The base of the tasks that learn an embedding without labels, judged with them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.data.split import PARTS
from tasks.errors import must_not_be_negative
from tasks.learn.base import Batch, Task
from tasks.learn.metrics.probe import probe, spread
from tasks.parallel.strategy import is_sharded
from tasks.report.samples import Neighbours, Result

SHOWN, NEAREST = 8, 6  # test samples of the report, and neighbours of each
COMPARED = 200  # test samples of the matrix of cosines

Embedded = tuple[Tensor, Tensor, Tensor]  # index, embedding and label of samples


class Embedding(Task):
    """Base of the self-supervised tasks. The network gives an "embedding" (batch, dim).

    After the test, the labels judge the frozen embedding: `test/linear_accuracy` of a logistic
    regression and `test/knn_accuracy` of the 20 nearest training samples, both by scikit-learn. The
    training has not seen a label. With weights that are sharded over devices (fsdp), neither is
    computed.

    Args:
        network: gives an "embedding".
        probe: the most training samples that the probes are fitted on; 0 leaves them out.
        options: those of `Task`.
    """

    headline = "linear_accuracy"

    def __init__(self, network: nn.Module, *, probe: int = 10_000, **options: Any):
        super().__init__(network, **options)
        must_not_be_negative("probe", probe)
        self.probe = probe
        self.embedded: dict[str, Embedded] = {}

    def embed(self, batch: Batch) -> Tensor:
        """Return the embeddings (batch, dim) of a batch, without augmentation and masks."""
        return self.network(**self.inputs(batch))["embedding"]

    def on_test_start(self) -> None:
        super().on_test_start()
        self.embedded = {}

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if not self.probe or is_sharded(self.trainer) or not has_classes(data):
            return
        for part in PARTS:
            self.embedded[part] = self.embed_part(data.plain_loader(part))
        arrays = {part: to_arrays(found) for part, found in self.embedded.items()}
        values, label = arrays["train"]
        kept = spread(len(label), self.probe)
        arrays["train"] = values[kept], label[kept]
        found = probe(arrays)
        # every process has the same numbers
        self.log("test/linear_accuracy", found.linear, sync_dist=True)
        self.log("test/knn_accuracy", found.knn, sync_dist=True)

    def embed_part(self, batches: Iterable[Batch]) -> Embedded:
        """Return the embeddings of the samples of all processes, in the order of the data."""
        found: list[Embedded] = []
        for batch in batches:
            moved = {name: value.to(self.device) for name, value in batch.items()}
            with torch.no_grad():
                value = self.embed(moved).float()
            found.append((batch["index"].cpu(), value.cpu(), batch["label"].cpu()))
        index, value, label = map(torch.cat, zip(*self.gather(found), strict=True))
        order = index.argsort()
        return index[order], value[order], label[order]


def find_neighbours(embedded: Mapping[str, Embedded]) -> list[Result]:
    """Return the nearest training samples of the first test samples, and the cosines of test
    samples; nothing without embeddings.
    """
    if "test" not in embedded or "train" not in embedded:
        return []
    index, value, label = embedded["test"]
    numbers, others, _ = embedded["train"]
    value, others = F.normalize(value, dim=1), F.normalize(others, dim=1)
    cosines, nearest = (value[:SHOWN] @ others.T).topk(min(NEAREST, len(others)))
    rows = []
    for row, number in enumerate(index[:SHOWN].tolist()):
        near = numbers[nearest[row]].tolist()
        rows.append((number, list(zip(near, cosines[row].tolist(), strict=True))))
    chosen = label[:COMPARED].argsort(stable=True)
    compared = value[:COMPARED][chosen]
    return [Neighbours(rows, compared @ compared.T, label[:COMPARED][chosen])]


def has_classes(data: Any) -> bool:
    """Return whether the samples of a data module have a class each, and can be read in order."""
    facts = data.facts()
    return "classes" in facts and "label" not in facts and data.reads_in_order()


def to_arrays(embedded: Embedded) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings and labels for scikit-learn."""
    _, value, label = embedded
    return value.numpy(), label.numpy()
