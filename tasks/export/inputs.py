"""Inputs with which what was written is compared with the run."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blocks.graph import open_cuts
from tasks.export.parity import Batch
from tasks.run.evaluate import reopen_data
from tasks.run.load_run import Finished

SAMPLES = 8  # in the larger of the two batches that are compared


def read_inputs(run: Finished, count: int = SAMPLES) -> Batch:
    """Return the first test samples of a run as inputs of its network, padded to the lengths that
    it was built for.

    Raises:
        ConfigError: the data cannot be read.
    """
    _, data = reopen_data(run, {})
    batch = next(iter(data.test_dataloader()))
    inputs = {}
    for name in run.network.input_names:
        if name not in batch:
            continue
        tensor = batch[name][:count]
        if len(tensor) == 1:  # one sample does not show which axis is the batch
            tensor = torch.cat([tensor, tensor])
        fact = run.facts.get(name) or {}
        inputs[name] = pad_tokens(tensor, dict(fact).get("tokens", 0))
    return inputs


def read_entry_inputs(whole: Finished, run: Finished, batch: Batch) -> Batch:
    """Return the inputs of an entry: those of the model, and what the model computes for them.

    Args:
        whole: the run.
        run: the same with the entry as its network.
        batch: inputs of the model.
    """
    cuts = open_cuts(whole.network, str(run.entry))
    found = dict(batch)
    if cuts is not None:
        with torch.no_grad():
            found |= cuts(**{name: batch[name] for name in cuts.input_names if name in batch})
    return {name: found[name] for name in run.network.input_names if name in found}


def pad_tokens(tensor: Tensor, tokens: int) -> Tensor:
    """Pad (batch, tokens, ...) with zeros to a number of tokens."""
    missing = tokens - tensor.shape[1]
    if missing <= 0:
        return tensor
    trailing = (0, 0) * (tensor.dim() - 2)
    return F.pad(tensor, (*trailing, 0, missing))


def make_inputs(run: Finished, count: int = SAMPLES) -> Batch:
    """Return random inputs with the shapes of the run's data; no token is padding."""
    generator = torch.Generator().manual_seed(0)
    inputs: Batch = {}
    for name in run.network.input_names:
        if name not in run.facts:
            continue
        fact = dict(run.facts[name])
        vocab = fact.pop("vocab", 2)
        dtype = fact.pop("dtype", "float")
        shape = (count, *fact.values())
        if dtype == "int":
            inputs[name] = torch.randint(vocab, shape, generator=generator)
        elif dtype == "bool":
            inputs[name] = torch.ones(shape, dtype=torch.bool)
        else:
            inputs[name] = torch.randn(shape, generator=generator)
    return inputs
