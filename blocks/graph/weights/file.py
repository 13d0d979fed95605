"""Files of weights: tensors read without running anything, and written as safetensors."""

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from blocks.graph.errors import ConfigError, Problem, did_you_mean, show
from blocks.graph.language.expression import ExpressionError
from blocks.graph.record.token_grid import Grid, find_tables, read_grid
from blocks.graph.weights.safe_load import read_archive
from blocks.support.files import FileError, check_memory, kind_of, open_file, replace_file

WRAPPERS = ("state_dict", "model", "model_state_dict")  # what trainers put around a state_dict
PROGRAMS = (
    "models/model.json",
    "serialized_exported_program.json",
)  # of torch.export, in a zip file
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def read_tensors(source: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a file or a state_dict, by name; nothing in a file is executed. Raises
    ConfigError.
    """
    found: Any = source if isinstance(source, Mapping) else _read_file(Path(source))
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    tensors = {}
    if isinstance(found, Mapping):
        tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        where = None if isinstance(source, Mapping) else str(source)
        fits = f"a state_dict, bare or under {', '.join(WRAPPERS)}"
        raise ConfigError([Problem("no tensors in there", where, fits=fits)])
    return tensors


def _read_file(path: Path) -> Any:
    kind = kind_of(path)
    if kind is not None:
        problem = f"{str(path)!r} is {kind}, not a file with weights"
        raise ConfigError([Problem(problem, fix=f"the path of a file: {', '.join(SUFFIXES)}")])
    if not path.is_file():
        known = [file.name for file in path.parent.glob("*") if file.suffix in SUFFIXES]
        fits = did_you_mean(path.name, known) if known else None
        fix = None if fits else f"the path of a file: {', '.join(SUFFIXES)}"
        raise ConfigError([Problem(f"no file {str(path)!r} with weights", fits=fits, fix=fix)])
    try:
        if is_safetensors(path):
            from safetensors.torch import load_file

            check_memory(path, path.stat().st_size)
            return load_file(path)
        refuse_program(path)
        return read_archive(path)
    except ConfigError:
        raise
    except FileError as error:
        raise ConfigError(
            [Problem("this file cannot be read", str(path), got=str(error))]
        ) from error
    except pickle.UnpicklingError as error:
        problem, fix = (
            "this file holds more than tensors: reading it could run code",
            "save its state_dict alone",
        )
        raise ConfigError([Problem(problem, str(path), got=_first_line(error), fix=fix)]) from error
    except Exception as error:  # each format has errors of its own for a broken file
        got, fits = (
            f"{type(error).__name__}: {_first_line(error)}",
            "safetensors, or a file of torch.save, whatever its name",
        )
        raise ConfigError(
            [Problem("this file cannot be read as weights", str(path), got=got, fits=fits)]
        ) from error


def read_grids(source: str | Path | Mapping[str, Any]) -> dict[str, Grid]:
    """Rows and columns of the position tables of a file that `save_weights` wrote, by name; raises
    ConfigError.
    """
    if isinstance(source, Mapping) or not is_safetensors(Path(source)):
        return {}
    from safetensors import safe_open

    with safe_open(source, "pt") as file:
        raw = (file.metadata() or {}).get("grids", "{}")
    try:
        return {str(name): read_grid(grid) for name, grid in json.loads(raw).items()}
    except (ExpressionError, ValueError, AttributeError, RecursionError) as error:
        problem = "the grids in the header of this file cannot be read"
        fits = '{"position.table": [4, 8]}'
        raise ConfigError([Problem(problem, str(source), got=show(raw), fits=fits)]) from error


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors does: the length of a JSON object, and the object."""
    with open_file(path) as file:
        length, brace = int.from_bytes(file.read(8), "little"), file.read(1)
    return brace == b"{" and 2 <= length <= path.stat().st_size - 8


def refuse_program(path: Path) -> None:
    """Raise for what `torch.save` does not write: a ConfigError for a program of torch.export, else
    a ValueError.
    """
    if not zipfile.is_zipfile(path):
        with open_file(path) as file:
            if file.read(1) != pickle.PROTO:
                raise ValueError(
                    "it begins neither as safetensors nor as a file of torch.save does"
                )
        return
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith(PROGRAMS) for name in names):
        problem, fix = (
            "this file is a program of torch.export, not weights",
            "python -m tasks export RUN --to safetensors",
        )
        raise ConfigError(
            [Problem(problem, str(path), fits="safetensors, or a file of torch.save", fix=fix)]
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:100]


def tensors_of(model: nn.Module) -> dict[str, tuple[Tensor, tuple[str, ...]]]:
    """Every tensor of the state_dict once, with the other names it has by tying."""
    names: dict[int, list[str]] = {}
    values: dict[int, Tensor] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        names.setdefault(id(value), []).append(name)
        values[id(value)] = value
    return {alike[0]: (values[key], tuple(alike[1:])) for key, alike in names.items()}


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write parameters and buffers as safetensors, a tied one once; `load_weights` without a map
    reads them back.

    Raises:
        ConfigError: the file cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    tensors = {
        name: value.detach().cpu().contiguous() for name, (value, _) in tensors_of(model).items()
    }
    metadata = {"format": "pt"}
    grids = {name: grid for name, (_, grid) in find_tables(model).items() if name in tensors}
    if grids:
        metadata["grids"] = json.dumps(grids)
    try:
        with replace_file(path) as draft:
            draft.write_bytes(save(tensors, metadata=metadata))
    except OSError as error:
        raise ConfigError([Problem(f"{path} cannot be written", got=str(error))]) from error
