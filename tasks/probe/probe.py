"""Judge the features of a finished run, and its raw inputs beside them, by the classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blocks.graph import Graph
from tasks.data.split import PARTS
from tasks.errors import ArgumentError, must_be_one_of, must_be_positive
from tasks.learn.metrics.probe import Probed, probe, spread
from tasks.learn.selfsupervised.embedding import has_classes
from tasks.probe.features import POOLS, Features, find_default_node, read_inputs
from tasks.run.evaluate import reopen_data
from tasks.run.load_run import Finished

NEIGHBOURS = (1, 3, 5, 10, 20, 50, 100)  # numbers of neighbours that are tried
SAMPLES = 10_000  # training samples that the probes are fitted on
RAW = "raw input"

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Row:
    """The probes of one kind of features.

    Args:
        features: the path of the node, or "raw input".
        size: values of a sample.
        probed: the accuracies on the test part, and what was chosen on the validation part.
    """

    features: str
    size: int
    probed: Probed


@dataclass(frozen=True)
class ProbedRun:
    """The probes of a run.

    Args:
        rows: of the network and of the raw input.
        samples: of each part; of the training part those that were used.
        available: training samples that the data have.
        classes: how many there are.
    """

    rows: list[Row]
    samples: dict[str, int]
    available: int
    classes: int


def probe_run(
    run: Finished,
    changes: Mapping[str, Any],
    *,
    node: str | None = None,
    pool: str = "mean",
    samples: int = SAMPLES,
) -> ProbedRun:
    """Fit probes on frozen features of a run, and on its raw input.

    Args:
        run: the run, from `open_run`.
        changes: entries of the section `data` that differ; other classes than those of training
            are possible.
        node: the path of a node; None for the pooled features before the head.
        pool: how several tokens or cells become one vector: mean, first or all.
        samples: the most training samples, evenly spaced.

    Raises:
        ArgumentError: the run or the data have nothing that can be probed.
        ConfigError: the data cannot be read.
    """
    must_be_one_of("pool", pool, POOLS)
    must_be_positive("samples", samples)
    if not isinstance(run.network, Graph):
        raise ArgumentError(
            "run", "the network of this run is not composed", fits="a model of YAML"
        )
    path = node or find_default_node(run.network)
    features = Features(run.network, path, pool)
    _, data = reopen_data(run, dict(changes))
    check_data(run, data)
    arrays: dict[str, Arrays] = {path: {}, RAW: {}}
    for part in PARTS:
        for name, found in read_part(run, features, data, part, samples).items():
            arrays[name][part] = found
    check_labels(arrays[path])
    rows = []
    for name, parts in arrays.items():
        check_finite(name, parts)
        rows.append(Row(name, parts["train"][0].shape[1], probe(parts, NEIGHBOURS)))
    counts = {part: len(label) for part, (_, label) in arrays[path].items()}
    return ProbedRun(rows, counts, data.sizes()["train"], int(data.facts()["classes"]))


def check_data(run: Finished, data: Any) -> None:
    """Raise an ArgumentError where the data have no classes, or other inputs than the network."""
    if not has_classes(data):
        raise ArgumentError(
            "data",
            "a probe needs data with one class for each sample, which can be read in order",
            got=type(data).__name__,
            fits="images, labelled texts and signals, e.g. data=digits",
        )
    facts = data.facts()
    for name in run.network.input_names:
        if name in run.facts and facts.get(name) != run.facts[name]:
            raise ArgumentError(
                "data",
                "the data do not fit the network",
                got=f"{name}={facts.get(name)}",
                fits=f"{name}={run.facts[name]}, as in training",
            )


def read_part(
    run: Finished, features: Features, data: Any, part: str, samples: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the features and the raw inputs of the samples of a part, each with the labels."""
    learned: list[Tensor] = []
    raw: list[Tensor] = []
    labels: list[Tensor] = []
    kept = np.arange(data.sizes()[part])
    if part == "train":
        kept = spread(len(kept), samples)
    wanted = torch.zeros(data.sizes()[part], dtype=torch.bool)
    wanted[torch.from_numpy(kept)] = True
    for batch in data.plain_loader(part):
        rows = wanted[batch["index"]]
        if not rows.any():
            continue
        chosen = {name: value[rows] for name, value in batch.items()}
        inputs = {name: chosen[name] for name in run.network.input_names if name in chosen}
        learned.append(features.run(chosen))
        raw.append(read_inputs(inputs, run.facts))
        labels.append(chosen["label"])
    if not labels:
        raise ArgumentError(
            "data", f"the part {part} has no samples", fix=f"a share for it, e.g. data.{part}=0.1"
        )
    label = torch.cat(labels).numpy()
    return {
        features.path: (torch.cat(learned).numpy(), label),
        RAW: (torch.cat(raw).numpy(), label),
    }


def check_labels(parts: Arrays) -> None:
    """Raise an ArgumentError where samples have several labels, or all have the same one."""
    label = parts["train"][1]
    if label.ndim != 1:
        raise ArgumentError(
            "data",
            "a probe needs one class for each sample",
            got=f"labels of shape {label.shape[1:]} for each",
        )
    if len(np.unique(label)) < 2:
        raise ArgumentError(
            "data",
            "a probe needs training samples of two classes or more",
            got=f"{len(label)} of class {label[0]}",
        )


def check_finite(name: str, parts: Arrays) -> None:
    """Raise an ArgumentError where features are infinite or not a number."""
    for part, (values, _) in parts.items():
        bad = int((~np.isfinite(values)).any(1).sum())
        if bad:
            raise ArgumentError(
                "run",
                "features are infinite or not a number",
                got=f"{bad} of {len(values)} samples of the part {part} at {name}",
                fix="another node, or another run",
            )
