"""Files of weights: tensors are read without running code, and written as safetensors."""

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
from blocks.graph.weights.shards import read_whole
from blocks.support.files import (
    FileError,
    check_memory,
    is_safetensors,
    kind_of,
    open_file,
    replace_file,
)
from blocks.support.program import command_line

WRAPPERS = ("state_dict", "model", "model_state_dict")  # what trainers put around a state_dict
PROGRAMS = ("models/model.json", "serialized_exported_program.json")  # of torch.export, in a zip
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def read_tensors(source: str | Path | Mapping[str, Any] | nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a file, a state_dict or a model by name, without running code of the
    file.

    Raises:
        ConfigError: the file cannot be read, or contains no tensors.
    """
    where = None
    found: Any = source
    if isinstance(source, nn.Module):
        found = source = source.state_dict()
    if not isinstance(source, Mapping):
        where = str(source)
        found = _read_file(Path(source))
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    tensors = {}
    if isinstance(found, Mapping):
        tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        fits = f"a state_dict, bare or under {', '.join(WRAPPERS)}"
        raise ConfigError(Problem("no tensors in there", where, fits=fits, code="unreadable-file"))
    return tensors


def _read_file(path: Path) -> Any:
    kind = kind_of(path)
    if kind is not None:
        text = f"{str(path)!r} is {kind}, not a file with weights"
        raise ConfigError(
            Problem(text, fix=f"the path of a file: {', '.join(SUFFIXES)}", code="missing-file")
        )
    if not path.is_file():
        text = f"no file {str(path)!r} with weights"
        known = [file.name for file in path.parent.glob("*") if file.suffix in SUFFIXES]
        if known:
            raise ConfigError(
                Problem(text, fits=did_you_mean(path.name, known), code="missing-file")
            )
        raise ConfigError(
            Problem(text, fix=f"the path of a file: {', '.join(SUFFIXES)}", code="missing-file")
        )
    try:
        if is_safetensors(path):
            from safetensors.torch import load_file

            check_memory(path, path.stat().st_size)
            return load_file(path)
        refuse_program(path)
        return read_whole(path)
    except ConfigError:
        raise
    except FileError as error:
        problem = Problem(
            "this file cannot be read", str(path), got=str(error), code="unreadable-file"
        )
        raise ConfigError(problem) from error
    except pickle.UnpicklingError as error:
        problem = Problem(
            "this file holds more than tensors: reading it could run code",
            str(path),
            got=_first_line(error),
            fix="save its state_dict alone",
            code="refused-file",
        )
        raise ConfigError(problem) from error
    except Exception as error:  # each format has errors of its own for a broken file
        problem = Problem(
            "this file cannot be read as weights",
            str(path),
            got=f"{type(error).__name__}: {_first_line(error)}",
            fits="safetensors, or a file of torch.save, whatever its name",
            code="unreadable-file",
        )
        raise ConfigError(problem) from error


def read_grids(source: str | Path | Mapping[str, Any] | nn.Module) -> dict[str, Grid]:
    """Return the rows and columns of the position tables of a model, or of a file that
    `save_weights` wrote, by name; raise ConfigError.
    """
    if isinstance(source, nn.Module):
        return {name: grid for name, (_, grid) in find_tables(source).items()}
    if isinstance(source, Mapping) or not is_safetensors(Path(source)):
        return {}
    from safetensors import safe_open

    with safe_open(source, "pt") as file:
        raw = (file.metadata() or {}).get("grids", "{}")
    try:
        return {str(name): read_grid(grid) for name, grid in json.loads(raw).items()}
    except (ExpressionError, ValueError, AttributeError, RecursionError) as error:
        problem = Problem(
            "the grids in the header of this file cannot be read",
            str(source),
            got=show(raw),
            fits='{"position.table": [4, 8]}',
            code="unreadable-file",
        )
        raise ConfigError(problem) from error


def refuse_program(path: Path) -> None:
    """Raise for a file that `torch.save` does not write: a ConfigError for a program of
    torch.export, else a ValueError.
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
        problem = Problem(
            "this file is a program of torch.export, not weights",
            str(path),
            fits="safetensors, or a file of torch.save",
            fix=command_line("tasks", "export RUN --to safetensors"),
            code="unreadable-file",
        )
        raise ConfigError(problem)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:100]


def list_tensors(model: nn.Module) -> dict[str, tuple[Tensor, tuple[str, ...]]]:
    """Return every tensor of the state_dict once, with its other names by tying."""
    first: dict[int, str] = {}
    found: dict[str, tuple[Tensor, tuple[str, ...]]] = {}
    for name, value in model.state_dict(keep_vars=True).items():
        own = first.setdefault(id(value), name)
        if own == name:
            found[name] = value, ()
        else:
            found[own] = value, (*found[own][1], name)
    return found


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Write parameters and buffers as safetensors, a tied one once. `load_weights` without a map
    reads them.

    Raises:
        ConfigError: the file cannot be written.
    """
    from safetensors.torch import save

    path = Path(path)
    tensors = {}
    for name, (value, _) in list_tensors(model).items():
        tensors[name] = value.detach().cpu().contiguous()
    metadata = {"format": "pt"}
    grids = {name: grid for name, (_, grid) in find_tables(model).items() if name in tensors}
    if grids:
        metadata["grids"] = json.dumps(grids)
    try:
        with replace_file(path) as draft:
            draft.write_bytes(save(tensors, metadata=metadata))
    except OSError as error:
        raise ConfigError(
            Problem(f"{path} cannot be written", got=str(error), code="unwritable-file")
        ) from error
