"""The formats of an export; each writer returns the network as it is loaded from what it wrote."""

import json
import runpy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_model
from torch import Tensor

from blocks.graph import build, load_weights, open_entry, save_weights
from blocks.support.share.folder import MODEL, WEIGHTS
from tasks.data.base import READER, TOKENIZER
from tasks.errors import ArgumentError
from tasks.export.cut import cut_network
from tasks.export.parity import Batch, Network, check_parity, compare_networks, name_outputs
from tasks.export.transformers import write_transformers
from tasks.report.card import SOURCE, write_card
from tasks.run.load_run import Finished


@dataclass(frozen=True)
class Format:
    """A format of an export.

    Args:
        name: the default name of the file or folder.
        packages: what must be installed.
        write: writes a run to a path, and returns the network that was written.
    """

    name: str
    packages: tuple[str, ...]
    write: Callable[[Finished, Path, Batch], Network]


def write_pt2(run: Finished, path: Path, batch: Batch) -> Network:
    """Write a program of `torch.export`: `torch.export.load(path).module()(**inputs)` runs it
    without this project.
    """
    extra = {"dougong.json": json.dumps(describe_run(run))}
    with path.open("wb") as file:  # given a name, torch accepts the suffix .pt2 only
        torch.export.save(trace_network(run, batch), file, extra_files=extra)
    with path.open("rb") as file:
        network = torch.export.load(file).module()
    return lambda part: name_outputs(network(**part))


def trace_network(run: Finished, batch: Batch) -> Any:
    """Return the program that `torch.export` makes of the network, for any batch size."""
    try:
        return torch.export.export(
            run.network, (), dict(batch), dynamic_shapes=any_batch_size(batch)
        )
    except Exception as error:  # an exporter may raise any error
        raise export_failed(error) from error


def any_batch_size(batch: Batch) -> dict[str, dict[int, Any]]:
    """Return the dynamic shapes of the inputs: the first axis of each."""
    axis = torch.export.Dim("batch")
    return {name: {0: axis} for name in batch}


def export_failed(error: Exception) -> ArgumentError:
    """Return the error to raise where an exporter fails."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return ArgumentError(
        "run",
        "the network cannot be written in this format",
        got=lines[0][:200] if lines else type(error).__name__,
        fix="--to safetensors, which writes the weights of any network",
    )


def write_onnx(run: Finished, path: Path, batch: Batch) -> Network:
    """Write a file for onnxruntime and others; inputs and outputs have the names of the YAML."""
    import onnx
    import onnxruntime

    names = list(name_outputs(run.network(**batch)))
    try:
        program = torch.onnx.export(
            run.network,
            kwargs=dict(batch),
            dynamo=True,
            verbose=False,
            input_names=list(batch),
            output_names=names,
            dynamic_shapes=any_batch_size(batch),
        )
    except Exception as error:  # an exporter may raise any error
        raise export_failed(error) from error
    assert program is not None
    rename_inner_values(program.model.graph, names)
    model = program.model_proto
    onnx.helper.set_model_props(model, {"dougong": json.dumps(describe_run(run))})
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run_session(part: Batch) -> dict[str, Tensor]:
        arrays = session.run(names, {name: tensor.numpy() for name, tensor in part.items()})
        return dict(zip(names, map(torch.from_numpy, arrays), strict=True))

    return run_session


def rename_inner_values(graph: Any, names: list[str]) -> None:
    """Rename the values inside an ONNX graph that have the name of an output: the exporter gives
    both the names of the YAML, and ONNX allows each name once.
    """
    outputs = set(map(id, graph.outputs))
    for node in graph:
        for value in node.outputs:
            if id(value) not in outputs and value.name in names:
                value.name = f"inner_{value.name}"


def write_safetensors(run: Finished, path: Path, batch: Batch) -> Network:
    """Write the weights alone, with the names of the YAML."""
    save_weights(run.network, path)
    return rebuild_network(run, path)


def write_hub(run: Finished, path: Path, batch: Batch) -> Network:
    """Write a folder that `model=FOLDER` opens: weights, YAML, model card, and the model as plain
    PyTorch, for itself and for transformers.
    """
    path.mkdir()
    save_weights(run.network, path / WEIGHTS)
    write_model(run, path / MODEL)
    for name in (TOKENIZER, READER):
        if (run.folder / name).is_file():
            shutil.copyfile(run.folder / name, path / name)
    if run.thresholds is not None:
        write_thresholds(run, path / READER)
    class_name = write_card(run, path)
    write_transformers(run, path, class_name)
    opened = build(str(path.absolute()), library=run.library).eval()
    if class_name is None:
        return lambda part: name_outputs(opened(**part))
    check_parity(compare_networks(run, lambda part: name_outputs(opened(**part)), batch, MODEL))
    network = runpy.run_path(str(path / SOURCE))[class_name]()
    load_model(network, path / WEIGHTS)
    network.eval()
    return lambda part: name_outputs(network(**part))


def write_model(run: Finished, path: Path) -> None:
    """Write the YAML of the model, with the facts of the data as its example."""
    model = {**run.config["model"], "example": dict(run.facts)}
    text = yaml.dump(model, Dumper=PlainDumper, sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_thresholds(run: Finished, path: Path) -> None:
    """Add the thresholds of the labels to the description of the data."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content["thresholds"] = dict(zip(run.classes, run.thresholds or (), strict=True))
    text = json.dumps(content, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


class PlainDumper(yaml.SafeDumper):
    """Writes YAML without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def rebuild_network(run: Finished, weights: Path) -> Network:
    """Return the network, built again, with the weights of a file."""
    network = build(run.config["model"], facts=run.facts, library=run.library).eval()
    if run.node is not None:
        network = cut_network(network, run.node)
    if run.entry is not None:
        network = open_entry(network, run.entry)
    load_weights(network, weights)
    return lambda part: name_outputs(network(**part))


def describe_run(run: Finished) -> dict[str, Any]:
    """Return what is needed besides the weights: the YAML of the model and the facts of the data;
    with several labels, from which probability on a sample has each; of a network that ends at a
    node, its path; of an entry, its name.
    """
    described = {
        "model": run.config["model"],
        "facts": run.facts,
        "data": run.config.get("data", {}).get("_target_"),
    }
    if run.node is not None:
        described["node"] = run.node
    if run.entry is not None:
        described["entry"] = run.entry
    if run.thresholds is not None:
        described["thresholds"] = dict(zip(run.classes, run.thresholds, strict=True))
    return described


FORMATS = {
    "onnx": Format("model.onnx", ("onnx", "onnxscript", "onnxruntime"), write_onnx),
    "pt2": Format("model.pt2", (), write_pt2),
    "safetensors": Format("model.safetensors", (), write_safetensors),
    "hub": Format("hub", (), write_hub),
}
