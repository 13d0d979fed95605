"""The catalogue: name in YAML -> block.

A name that is not here cannot be built, and naming one imports nothing.
"""

import importlib
import importlib.util
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from blocks.errors import BlockError
from blocks.support.files import check_kind, kind_of


@dataclass(frozen=True)
class Layer:
    """A class that cannot speak for itself (`torch.nn`'s carry no shapes), and the words that YAML
    uses for it.

    Args:
        factory: the class.
        takes: axes of its input, as jaxtyping would write them; "..." for any.
        gives: axes of its output; equal to `takes` when left out.
        infer: word in YAML -> axis of the input that fills it.
        words: word in YAML -> constructor parameter.
        kind: dtype of the input, "float", "int" or "bool"; any when left out.
        idle: whether an instance does nothing and can be left out of the generated code.
        pointwise: each number of the output depends on the same number of the input alone; blocks
            of the project have an attribute of that name.
    """

    factory: Callable[..., nn.Module]
    takes: str = "..."
    gives: str | None = None
    infer: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    kind: str | None = "float"
    idle: Callable[[Any], bool] | None = None
    pointwise: bool = False
    __hash__ = object.__hash__


def _convolution(factory: type[nn.Module], axes: str) -> Layer:
    out = " ".join(f"out_{axis}" for axis in axes.split())
    words = {"features": "out_channels", "kernel": "kernel_size"}
    return Layer(
        factory,
        f"batch channels {axes}",
        f"batch out_channels {out}",
        {"in_channels": "channels"},
        words,
    )


def _pooling(factory: type[nn.Module], axes: str, word: str = "kernel") -> Layer:
    out = " ".join(f"out_{axis}" for axis in axes.split())
    name = {"kernel": "kernel_size", "size": "output_size"}[word]
    return Layer(factory, f"batch channels {axes}", f"batch channels {out}", words={word: name})


def _normalisation(factory: type[nn.Module], takes: str, word: str, axis: str) -> Layer:
    return Layer(factory, takes, infer={word: axis}, words={"epsilon": "eps"})


IMAGE, GRID, VOLUME = "batch channels height width", "height width", "depth height width"
TORCH: dict[str, Layer] = {
    "Linear": Layer(
        nn.Linear,
        "*batch dim",
        "*batch out_dim",
        {"in_features": "dim"},
        {"features": "out_features"},
    ),
    "Embedding": Layer(
        nn.Embedding,
        "*tokens",
        "*tokens dim",
        {"vocab": "vocab"},
        {"vocab": "num_embeddings", "dim": "embedding_dim"},
        "int",
    ),
    "Conv1d": _convolution(nn.Conv1d, "length"),
    "Conv2d": _convolution(nn.Conv2d, GRID),
    "Conv3d": _convolution(nn.Conv3d, VOLUME),
    "ConvTranspose1d": _convolution(nn.ConvTranspose1d, "length"),
    "ConvTranspose2d": _convolution(nn.ConvTranspose2d, GRID),
    "ConvTranspose3d": _convolution(nn.ConvTranspose3d, VOLUME),
    "MaxPool1d": _pooling(nn.MaxPool1d, "length"),
    "MaxPool2d": _pooling(nn.MaxPool2d, GRID),
    "MaxPool3d": _pooling(nn.MaxPool3d, VOLUME),
    "AvgPool1d": _pooling(nn.AvgPool1d, "length"),
    "AvgPool2d": _pooling(nn.AvgPool2d, GRID),
    "AvgPool3d": _pooling(nn.AvgPool3d, VOLUME),
    "AdaptiveAvgPool1d": _pooling(nn.AdaptiveAvgPool1d, "length", "size"),
    "AdaptiveAvgPool2d": _pooling(nn.AdaptiveAvgPool2d, GRID, "size"),
    "AdaptiveAvgPool3d": _pooling(nn.AdaptiveAvgPool3d, VOLUME, "size"),
    "AdaptiveMaxPool1d": _pooling(nn.AdaptiveMaxPool1d, "length", "size"),
    "AdaptiveMaxPool2d": _pooling(nn.AdaptiveMaxPool2d, GRID, "size"),
    "AdaptiveMaxPool3d": _pooling(nn.AdaptiveMaxPool3d, VOLUME, "size"),
    "LayerNorm": Layer(
        nn.LayerNorm, "*batch dim", infer={"normalized_shape": "dim"}, words={"epsilon": "eps"}
    ),
    "GroupNorm": Layer(
        nn.GroupNorm,
        "batch channels *rest",
        infer={"num_channels": "channels"},
        words={"groups": "num_groups", "epsilon": "eps"},
    ),
    "BatchNorm1d": _normalisation(
        nn.BatchNorm1d, "batch channels *rest", "num_features", "channels"
    ),
    "BatchNorm2d": _normalisation(nn.BatchNorm2d, IMAGE, "num_features", "channels"),
    "BatchNorm3d": _normalisation(
        nn.BatchNorm3d, f"batch channels {VOLUME}", "num_features", "channels"
    ),
    "InstanceNorm1d": _normalisation(
        nn.InstanceNorm1d, "batch channels length", "num_features", "channels"
    ),
    "InstanceNorm2d": _normalisation(nn.InstanceNorm2d, IMAGE, "num_features", "channels"),
    "InstanceNorm3d": _normalisation(
        nn.InstanceNorm3d, f"batch channels {VOLUME}", "num_features", "channels"
    ),
    "LocalResponseNorm": Layer(nn.LocalResponseNorm, IMAGE),
    "Dropout": Layer(
        nn.Dropout, words={"rate": "p"}, idle=lambda module: module.p == 0, pointwise=True
    ),
    "Dropout2d": Layer(nn.Dropout2d, IMAGE, words={"rate": "p"}, idle=lambda module: module.p == 0),
    "Identity": Layer(nn.Identity, kind=None, idle=lambda module: True),
    "Flatten": Layer(
        nn.Flatten,
        "batch *rest",
        "batch out_dim",
        words={"start": "start_dim", "end": "end_dim"},
        kind=None,
    ),
    "Unflatten": Layer(nn.Unflatten, kind=None),
    "Softmax": Layer(nn.Softmax, words={"axis": "dim"}),
    "LogSoftmax": Layer(nn.LogSoftmax, words={"axis": "dim"}),
    "Upsample": Layer(
        nn.Upsample, IMAGE, "batch channels out_height out_width", words={"scale": "scale_factor"}
    ),
    "PixelShuffle": Layer(
        nn.PixelShuffle,
        IMAGE,
        "batch out_channels out_height out_width",
        words={"factor": "upscale_factor"},
    ),
    "PixelUnshuffle": Layer(
        nn.PixelUnshuffle,
        IMAGE,
        "batch out_channels out_height out_width",
        words={"factor": "downscale_factor"},
    ),
    "ZeroPad2d": Layer(nn.ZeroPad2d, IMAGE, "batch channels out_height out_width"),
    "ReflectionPad2d": Layer(nn.ReflectionPad2d, IMAGE, "batch channels out_height out_width"),
    "CircularPad2d": Layer(nn.CircularPad2d, IMAGE, "batch channels out_height out_width"),
    "Unfold": Layer(nn.Unfold, IMAGE, "batch out_dim out_tokens", words={"kernel": "kernel_size"}),
    "PReLU": Layer(nn.PReLU),
    "GLU": Layer(nn.GLU, "*batch dim", "*batch out_dim", words={"axis": "dim"}),
    **{
        name: Layer(getattr(nn, name), pointwise=True)
        for name in (
            "ReLU",
            "ReLU6",
            "LeakyReLU",
            "ELU",
            "SELU",
            "GELU",
            "SiLU",
            "Mish",
            "Softplus",
            "Tanh",
            "Sigmoid",
            "Hardswish",
            "Hardsigmoid",
            "Hardtanh",
            "Softsign",
            "LogSigmoid",
            "CELU",
            "Tanhshrink",
            "Softshrink",
            "Hardshrink",
        )
    },
}

# What layers of torch.nn compute, for the page that `draw` makes.
FORMULAS = {
    "Linear": "x Wᵀ + b",
    "Embedding": "W[id]",
    "Conv1d": "Σ W · patch + b at each place",
    "Conv2d": "Σ W · patch + b at each place",
    "Conv3d": "Σ W · patch + b at each place",
    "BatchNorm1d": "(x - mean) / √(var + ε) · γ + β over the batch",
    "BatchNorm2d": "(x - mean) / √(var + ε) · γ + β over batch and image",
    "LayerNorm": "(x - mean) / √(var + ε) · γ + β over the width",
    "GroupNorm": "(x - mean) / √(var + ε) · γ + β over each group of channels",
    "InstanceNorm2d": "(x - mean) / √(var + ε) over each channel of an image",
    "Dropout": "x · m / (1 - rate), with m = 0 for a share `rate` of the numbers, else 1; x "
    "after training",
    "Softmax": "exp(x) / Σ exp(x)",
    "LogSoftmax": "x - log Σ exp(x)",
    "GLU": "a ⊙ σ(b), the halves of x",
    "PReLU": "max(0, x) + a · min(0, x)",
    "ReLU": "max(0, x)",
    "ReLU6": "min(max(0, x), 6)",
    "LeakyReLU": "max(0, x) + slope · min(0, x)",
    "ELU": "x above 0, else α (exp(x) - 1)",
    "GELU": "x Φ(x); with tanh: x / 2 · (1 + tanh(√(2 / π) (x + 0.044715 x³)))",
    "SiLU": "x σ(x)",
    "Mish": "x tanh(log(1 + exp(x)))",
    "Softplus": "log(1 + exp(x))",
    "Tanh": "tanh(x)",
    "Sigmoid": "1 / (1 + exp(-x))",
    "Hardswish": "x · min(max(0, x + 3), 6) / 6",
    "Hardsigmoid": "min(max(0, x + 3), 6) / 6",
    "Softsign": "x / (1 + |x|)",
    "LogSigmoid": "-log(1 + exp(-x))",
    "CELU": "max(0, x) + min(0, α (exp(x / α) - 1))",
    "Tanhshrink": "x - tanh(x)",
    "Softshrink": "x - λ above λ, x + λ below -λ, else 0",
    "Hardshrink": "x outside [-λ, λ], else 0",
    "Unfold": "each patch as a column",
    "MaxPool2d": "the largest of each window",
    "AvgPool2d": "the mean of each window",
    "Flatten": "axes joined into one",
    "Identity": "x",
}


def is_pointwise(module: nn.Module) -> bool:
    """Whether each number of the output depends on the same number of the input alone."""
    layers = (layer.factory for layer in TORCH.values() if layer.pointwise)
    return bool(getattr(module, "pointwise", False)) or type(module) in layers


NOT_FAMILIES = ("__main__", "catalog", "commands", "errors", "graph", "studio", "support", "watch")


@lru_cache(maxsize=1)
def own() -> dict[str, type[nn.Module]]:
    """The project's own blocks: every public module class of the files in `blocks/`."""
    import blocks

    found: dict[str, type[nn.Module]] = {}
    for module in pkgutil.iter_modules(blocks.__path__, "blocks."):
        if module.name.rpartition(".")[2] in NOT_FAMILIES:
            continue
        family = importlib.import_module(module.name)
        found.update(_blocks_in(family))
        for file in pkgutil.iter_modules(getattr(family, "__path__", ()), f"{module.name}."):
            found.update(_blocks_in(importlib.import_module(file.name)))
    return found


def catalog(library: Iterable[str] = ()) -> Mapping[str, Any]:
    """Every block by its name: `torch.nn`'s that fit, the project's own, installed plug-ins, and
    the user's own.

    Args:
        library: folders (or single files) of the user's own blocks, or names of installed packages.
            Their code runs: only the user may name them, on the command line or from Python.

    Raises:
        BlockError: a folder that is not there, or a file in it that cannot be imported.
    """
    found: dict[str, Any] = {**TORCH, **own(), **_installed()}
    for place in library:
        found.update(_library(str(place)))
    return found


@lru_cache(maxsize=1)
def _installed() -> dict[str, type[nn.Module]]:
    """The blocks of installed plug-ins."""
    found: dict[str, type[nn.Module]] = {}
    for point in entry_points(group="dougong.blocks"):
        found.update(_blocks_in(point.load()))
    return found


def _blocks_in(module: ModuleType) -> dict[str, type[nn.Module]]:
    """Public `nn.Module` classes that a file defines itself."""
    return {
        name: item
        for name, item in vars(module).items()
        if inspect.isclass(item)
        and issubclass(item, nn.Module)
        and item.__module__ == module.__name__
        and name[0] != "_"
    }


def _library(place: str) -> dict[str, type[nn.Module]]:
    path = Path(place)
    if not place:
        raise BlockError(
            "a folder with blocks has a name",
            got="an empty text",
            fits="a folder with .py files, or a package",
            code="missing-file",
        )
    if not path.exists():
        with here():
            if place.replace(".", "").isidentifier() and importlib.util.find_spec(
                place.partition(".")[0]
            ):
                return _blocks_in(_import(place, lambda: importlib.import_module(place)))
        raise BlockError(
            f"no folder or package {place!r} with blocks",
            fits="a folder with .py files, or a package",
            code="missing-file",
        )
    kind = kind_of(path)
    if kind not in (None, "a folder"):
        raise BlockError(
            f"{place!r} is {kind}",
            fits="a folder with .py files, or a package",
            code="missing-file",
        )
    files = (
        [path]
        if path.is_file()
        else sorted(file for file in path.glob("*.py") if file.name[0] != "_")
    )
    if not files:
        raise BlockError(
            f"no .py file in {place!r}",
            fits="a folder with files that define nn.Module classes",
            code="missing-file",
        )
    found: dict[str, type[nn.Module]] = {}
    for file in files:
        found.update(_blocks_in(_import(str(file), lambda file=file: _import_file(file))))  # type: ignore[misc]
    return found


@contextmanager
def here() -> Iterator[None]:
    """Also import what lies where the user stands: only for what the user named."""
    sys.path.append(os.getcwd())
    try:
        yield
    finally:
        sys.path.remove(os.getcwd())


def _import_file(file: Path) -> ModuleType:
    name = f"dougong_library_{file.resolve().parent.name}_{file.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(file.resolve()):
        return sys.modules[name]
    check_kind(file, kind_of(file))
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _import(name: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except Exception as error:  # any fault of the user's file is reported with its name
        line = getattr(error, "lineno", None) or (error.__traceback__ and _last_line(error))
        raise BlockError(
            f"{name} cannot be imported",
            got=f"{type(error).__name__}: {error} (line {line})",
            code="broken-code",
        ) from error


def _last_line(error: BaseException) -> int | None:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_lineno if trace else None
