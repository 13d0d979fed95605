"""A finished run for other programs: ONNX, torch.export, safetensors, or a folder as the Hugging
Face Hub has them.

What is written takes any number of samples at once, and is compared with the run on samples of its
test part before it gets its name: what differs is never left behind as if it were fine.
"""

import contextlib
import importlib.util
import json
import logging
import os
import runpy
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_model
from torch import Tensor

from blocks.graph import build, load_weights, save_weights
from tasks.data.base import READER, TOKENIZER
from tasks.errors import ArgumentError
from tasks.report.card import SOURCE, write_card
from tasks.run.load_run import Finished
from tasks.run.train import reopened

Batch = dict[str, Tensor]
Network = Callable[[Batch], dict[str, Tensor]]

SAMPLES = 8  # in the larger of the two batches that are compared
CLOSE = (
    1e-5  # of the largest logit; what is written in float32 by another kernel differs by rounding
)


@dataclass(frozen=True)
class Parity:
    """How far what was written is from the run.

    Args:
        batches: sizes of the batches that were compared.
        source: where the samples came from.
        difference: the largest one of any output.
        scale: the largest output of the run, one at least.
    """

    batches: tuple[int, ...]
    source: str
    difference: float
    scale: float

    def __str__(self) -> str:
        sizes = " and ".join(map(str, self.batches))
        far = f"largest difference {self.difference:.1e} of {self.scale:.3g}"
        return f"{self.source}, batches of {sizes}: {far}"


def export(run: Finished, kind: str, place: Path, batch: Batch, source: str) -> Parity:
    """Write a run as `place`, and compare.

    Args:
        run: as `open_run` gives it.
        kind: one of `KINDS`.
        place: the file, or for hub the folder; must not exist.
        batch: inputs of the network by name, two samples at least.
        source: what the inputs are, for people.

    Raises:
        ArgumentError: `place` exists or cannot be written; a package is missing; the network cannot
            be written in that way; what was written gives something else than the run.
    """
    needs(kind)
    if place.exists():
        raise ArgumentError(
            "out", f"{place} exists already", fix="-o with another name, or delete it"
        )
    try:
        draft = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.absolute().parent))
    except OSError as error:
        raise ArgumentError("out", f"{place} cannot be written", got=error.strerror) from error
    try:
        written = draft / place.name
        with quiet():
            again = KINDS[kind].write(run, written, batch)
            parity = compare(run, again, batch, source)
        if not parity.difference <= CLOSE * parity.scale:
            raise ArgumentError(
                "run", "what was written differs from the run", got=str(parity), fits=f"{CLOSE:.0e}"
            )
        os.replace(written, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return parity


def real_inputs(run: Finished, count: int = SAMPLES) -> Batch:
    """The first test samples of a run as inputs of its network, padded to the lengths it was built
    for.

    Raises:
        ConfigError: the data are not where they were.
    """
    _, data = reopened(run, {})
    batch = next(iter(data.test_dataloader()))
    found = {}
    for name in run.network.input_names:
        if name in batch:
            tensor = batch[name][:count]
            tensor = (
                tensor if len(tensor) > 1 else torch.cat([tensor, tensor])
            )  # one sample shows no batch axis
            tokens = dict(run.facts.get(name) or {}).get("tokens", 0)
            missing = max(tokens - tensor.shape[1], 0)
            found[name] = (
                F.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, missing)) if missing else tensor
            )
    return found


def made_inputs(run: Finished, count: int = SAMPLES) -> Batch:
    """Random inputs of the shapes that the data of a run had; nothing is padding."""
    source, found = torch.Generator().manual_seed(0), {}
    for name in run.network.input_names:
        if name not in run.facts:
            continue
        fact = dict(run.facts[name])
        vocab, dtype = fact.pop("vocab", 2), fact.pop("dtype", "float")
        shape = (count, *fact.values())
        if dtype == "int":
            found[name] = torch.randint(vocab, shape, generator=source)
        else:
            whole = torch.ones(shape, dtype=torch.bool)
            found[name] = whole if dtype == "bool" else torch.randn(shape, generator=source)
    return found


def needs(kind: str) -> None:
    """Raise an ArgumentError that says what to install."""
    missing = [name for name in KINDS[kind].packages if importlib.util.find_spec(name) is None]
    if missing:
        text = (
            f"--to {kind} needs {' and '.join(missing)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not installed"
        )
        raise ArgumentError("to", text, fix='pip install -c constraints.txt -e ".[onnx]"')


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters say to those who develop them."""
    log, level = logging.getLogger("torch.onnx"), logging.getLogger("torch.onnx").level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


@torch.no_grad()
def compare(run: Finished, again: Network, batch: Batch, source: str) -> Parity:
    """Ask both with batches of two sizes, since a size that was written into the file shows with
    another one only.
    """
    sizes = (len(next(iter(batch.values()))), 1)
    difference, scale = 0.0, 1.0
    for size in sizes:
        part = {name: tensor[:size] for name, tensor in batch.items()}
        wanted, found = outputs(run.network(**part)), again(part)
        if list(wanted) != list(found):
            raise ArgumentError(
                "run",
                "what was written has other outputs",
                got=", ".join(found),
                fits=", ".join(wanted),
            )
        for name, tensor in wanted.items():
            same = found[name].shape == tensor.shape
            far = float((found[name] - tensor).abs().max()) if same else float("inf")
            difference = max(difference, far if far == far else float("inf"))
            scale = max(scale, float(tensor.abs().max()))
    return Parity(sizes, source, difference, scale)


def outputs(result: Any) -> dict[str, Tensor]:
    """What a network gave, by name."""
    return dict(result) if isinstance(result, Mapping) else {"out": result}


def traced(run: Finished, batch: Batch) -> Any:
    """The network as `torch.export` sees it, for any batch size."""
    axis = torch.export.Dim("batch")
    shapes = {name: {0: axis} for name in batch}
    try:
        return torch.export.export(run.network, (), dict(batch), dynamic_shapes=shapes)
    except Exception as error:  # the exporter raises what its parts happen to raise
        raise unwritable(error) from error


def unwritable(error: Exception) -> ArgumentError:
    """What to tell where an exporter gives up."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    told = lines[0][:200] if lines else type(error).__name__
    fix = "--to safetensors, which keeps any network"
    return ArgumentError("run", "the network cannot be written in this way", got=told, fix=fix)


def write_pt2(run: Finished, path: Path, batch: Batch) -> Network:
    """`torch.export.load(path).module()(**inputs)` runs it, without this project."""
    extra = {"dougong.json": json.dumps(description(run))}
    with path.open("wb") as file:  # under a name, torch takes the suffix .pt2 alone
        torch.export.save(traced(run, batch), file, extra_files=extra)
    with path.open("rb") as file:
        network = torch.export.load(file).module()
    return lambda part: outputs(network(**part))


def write_onnx(run: Finished, path: Path, batch: Batch) -> Network:
    """One file for onnxruntime and its kin; inputs and outputs have the names of the YAML."""
    import onnx
    import onnxruntime

    names = list(outputs(run.network(**batch)))
    try:
        program = torch.onnx.export(
            run.network,
            kwargs=dict(batch),
            dynamo=True,
            verbose=False,
            input_names=list(batch),
            output_names=names,
            dynamic_shapes={name: {0: torch.export.Dim("batch")} for name in batch},
        )
    except Exception as error:  # as above
        raise unwritable(error) from error
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {"dougong": json.dumps(description(run))})
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def ask(part: Batch) -> dict[str, Tensor]:
        found = session.run(names, {name: tensor.numpy() for name, tensor in part.items()})
        return {name: torch.from_numpy(array) for name, array in zip(names, found, strict=True)}

    return ask


def write_safetensors(run: Finished, path: Path, batch: Batch) -> Network:
    """The weights alone, by the names of the YAML."""
    save_weights(run.network, path)
    return rebuilt(run, path)


def write_hub(run: Finished, path: Path, batch: Batch) -> Network:
    """A folder with weights, configuration, model card, and the model as plain PyTorch, which is
    what is compared.
    """
    path.mkdir()
    save_weights(run.network, path / "model.safetensors")
    told = json.dumps(description(run), indent=2, ensure_ascii=False)
    (path / "config.json").write_text(f"{told}\n", encoding="utf-8", errors="backslashreplace")
    for name in (TOKENIZER, READER):
        if (run.place / name).is_file():
            shutil.copyfile(run.place / name, path / name)
    kind = write_card(run, path)
    if kind is None:
        return rebuilt(run, path / "model.safetensors")
    space = runpy.run_path(str(path / SOURCE))
    network = space[kind]()
    load_model(network, path / "model.safetensors")
    network.eval()
    return lambda part: outputs(network(**part))


def rebuilt(run: Finished, weights: Path) -> Network:
    """The network built anew, with the weights of a file."""
    network = build(run.config["model"], facts=run.facts, library=run.library).eval()
    load_weights(network, weights)
    return lambda part: outputs(network(**part))


def description(run: Finished) -> dict[str, Any]:
    """What somebody needs besides the weights: the model's YAML and what the data said of
    themselves.
    """
    return {
        "model": run.config["model"],
        "facts": run.facts,
        "data": run.config.get("data", {}).get("_target_"),
    }


@dataclass(frozen=True)
class Kind:
    """A way to write a run: what it is called on disk, what it needs, who writes it."""

    name: str
    packages: tuple[str, ...]
    write: Callable[[Finished, Path, Batch], Network]


KINDS = {
    "onnx": Kind("model.onnx", ("onnx", "onnxscript", "onnxruntime"), write_onnx),
    "pt2": Kind("model.pt2", (), write_pt2),
    "safetensors": Kind("model.safetensors", (), write_safetensors),
    "hub": Kind("hub", (), write_hub),
}
