"""`model=FOLDER` and `model=hub:USER/NAME@REVISION` on the command line."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.default_element import ResultDefault

from blocks.graph.compose.overrides import on_command_line
from blocks.graph.errors import ConfigError, Origin, Problem
from blocks.support.conf_folders import conf_folders
from blocks.support.files import is_confined, is_safetensors, kind_of
from blocks.support.program import command_line
from blocks.support.share.folder import (
    FOLDER_FITS,
    MODEL,
    WEIGHTS,
    is_shared,
    shared_file,
    shared_option,
)
from blocks.support.share.hub import ADDRESS, HUB, HubError, fetch_model
from blocks.support.yaml_rules import Refused, rules_the_program

CHOICE = re.compile(
    r"(?P<key>\+*model)=((?P<quote>['\"])(?P<quoted>.+)(?P=quote)|(?P<plain>[^,'\"{\[][^,]*))",
    re.DOTALL,
)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def name_models(overrides: Sequence[str], config_dir: str | None = None) -> list[str]:
    """Return overrides with the absolute path of a shared model, or with its commit.

    A model of the Hub that is not in the cache is fetched, so this is for overrides of the command
    line alone.

    Raises:
        ConfigError: the folder holds no model, or the Hub has none.
    """
    return [_name_model(text, config_dir) for text in overrides]


def _name_model(text: str, config_dir: str | None) -> str:
    option = _chosen_option(text)
    if option is None:
        return text
    key = text.partition("=")[0]
    if option.startswith(HUB):
        return f"{key}={_fetch(option, text)}"
    is_path = "/" in option or os.sep in option or option in (".", "..")
    if not is_path or _is_nested(option, config_dir):
        return text
    folder = Path(option).expanduser().absolute()
    _check_folder(folder, text)
    if option == text.partition("=")[2]:
        return f"{key}={folder}"
    return f"{key}='{folder}'"


def _chosen_option(text: str) -> str | None:
    """Return the option of an override that chooses one model, without its quotes."""
    found = CHOICE.fullmatch(text)
    if found is None:
        return None
    return found["quoted"] or found["plain"]


def _is_nested(option: str, config_dir: str | None) -> bool:
    """Return whether an option is a file in a folder of `conf/model`."""
    folders = conf_folders()
    if config_dir is not None:
        folders.append(Path(config_dir))
    return any((folder / "model" / f"{option}.yaml").is_file() for folder in folders)


def _fetch(option: str, text: str) -> str:
    if is_confined():
        problem = "a model of the Hub is fetched by the command line alone"
        fix = f"a person runs: dougong explain {text}"
        raise ConfigError(Problem(problem, on_command_line(text), fix=fix, code="not-allowed"))
    address = ADDRESS.fullmatch(option)
    if address is None:
        fits = "hub:USER/NAME, or hub:USER/NAME@REVISION with a branch, a tag or a commit"
        raise ConfigError(
            Problem(
                "no model of the Hub has this name",
                on_command_line(text),
                got=option,
                fits=fits,
                code="bad-override",
            )
        )
    try:
        commit = fetch_model(address["name"], address["revision"] or "main")
    except HubError as error:
        raise ConfigError(
            Problem(
                error.problem,
                on_command_line(text),
                got=error.got or None,
                fix=error.fix or None,
                code=error.code,
            )
        ) from error
    return f"{HUB}{address['name']}@{commit}"


def _check_folder(folder: Path, text: str) -> None:
    """Raise a ConfigError for a folder without a model."""
    if kind_of(folder / MODEL) is None and (folder / MODEL).exists():
        return
    problem, got, fix = f"no {MODEL} in this folder", None, None
    if not folder.is_dir():
        problem = "there is no such folder"
    elif (folder / "run.json").is_file():
        command = command_line("tasks", f"export {folder} --to hub")
        fix = f"a run is exported first: {command}"
    else:
        pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
        if pickles:
            got = f"{', '.join(pickles[:4])}, which are not read: pickles can run code"
    raise ConfigError(
        Problem(
            problem, on_command_line(text), got=got, fits=FOLDER_FITS, fix=fix, code="missing-file"
        )
    )


def find_shared(defaults: Sequence[ResultDefault]) -> str | None:
    """Return the folder or the address of the model where it is shared."""
    for default in defaults:
        option = shared_option(default.config_path)
        if option is not None:
            return option
    return None


def check_chooser(option: str, overrides: Sequence[str]) -> list[Problem]:
    """Return a problem where a file, rather than the command line, chose a shared model."""
    if option in map(_chosen_option, overrides):
        return []
    return [
        Problem(
            "a shared model is chosen on the command line, not in a file",
            "a defaults list",
            "model",
            got=f"model={option}",
            fix=f"model={option} on the command line",
            code="not-allowed",
        )
    ]


def use_weights(
    option: str, config: dict[str, Any], origins: dict[tuple[Any, ...], Origin]
) -> list[Problem]:
    """Let a configuration load the weights of a shared model, unless `weights.load` is set.

    Returns:
        A problem for weights that are a link out of the folder, or no safetensors.
    """
    section, path = config.get("weights"), ("weights", "load")
    origin = origins.get(path)
    if not isinstance(section, dict) or not is_shared(option):
        return []
    if origin is None or origin.file is None or not rules_the_program(Path(origin.file)):
        return []
    try:
        file = shared_file(option, WEIGHTS)
    except Refused as error:
        where = str(error.problem_mark.name)  # type: ignore[union-attr]
        problem, parts = str(error.problem), error.parts
        return [Problem(problem, where, got=parts["got"], fix=parts["fix"], code=error.code)]
    if file.is_file() and kind_of(file) is None and not is_safetensors(file):
        problem = "the weights of a shared model are read from safetensors alone"
        fix = "weights.load=null takes the architecture alone"
        return [Problem(problem, str(file), fix=fix, code="refused-file")]
    section["load"] = str(file)
    text = "the shared model; weights.load=null takes the architecture alone"
    origins[path] = Origin(text=text)
    return []
