"""A shared model: `model=FOLDER` and `model=hub:USER/NAME@COMMIT` as options that Hydra reads.

Nothing but `model.yaml` and `model.safetensors` of the folder is read, and nothing is downloaded
here: `blocks.support.share.hub` fetches what the command line names.
"""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from blocks.support.share.hub import ADDRESS, HUB, cached_folder
from blocks.support.yaml_rules import HEADER, Refused

MODEL, WEIGHTS = "model.yaml", "model.safetensors"
OPTION_GROUP = "model/"
FOLDER_FITS = f"a folder with {MODEL} and {WEIGHTS}, as `export RUN --to hub` writes"
SLOT = re.compile(r"((override|optional) )*\w+(@[A-Za-z][\w.]*)?")  # a key of a defaults list
NAME = re.compile(r"\w[\w.-]*")  # of an option


def is_shared(option: str) -> bool:
    """Return whether an option of `model` is a folder or on the Hub, rather than a name."""
    return option.startswith(HUB) or os.path.isabs(option)


def shared_option(config_path: str | None) -> str | None:
    """Return FOLDER for Hydra's `model/FOLDER`; None for options that are files of `conf/`."""
    option = (config_path or "").removeprefix(OPTION_GROUP)
    if option != config_path and is_shared(option):
        return option
    return None


def locate_config(folder: Path, config_path: str) -> Path:
    """Return the file of a configuration that Hydra found in a folder of the search path.

    Raises:
        Refused: a shared model that is not here.
    """
    option = shared_option(config_path)
    if option is None:
        return folder / f"{config_path}.yaml"
    return shared_file(option, MODEL)


def shared_file(option: str, name: str) -> Path:
    """Return a file of a shared model; it need not exist.

    Raises:
        Refused: the folder is not here, or the file is a link that leads out of it.
    """
    folder, root = _find_folder(option)
    file = folder / name
    if not file.resolve().is_relative_to(root.resolve()):
        raise Refused(
            "this file is a link that leads out of the folder",
            _start_of(str(file)),
            got=str(file.resolve()),
            fix="put a copy in its place",
        )
    return file


def _find_folder(option: str) -> tuple[Path, Path]:
    """Return the folder of a shared model, and the folder that its links may not leave."""
    if not option.startswith(HUB):
        return Path(option), Path(option)
    address = ADDRESS.fullmatch(option)
    folder = cached_folder(address["name"], address["revision"], MODEL) if address else None
    if folder is None:
        raise Refused(
            "models of the Hub are fetched only where the command line names them",
            _start_of(option),
            fix=f"write model={option} on the command line",
            code="missing-file",
        )
    return folder, folder.parents[1]  # the snapshot links to the blobs beside it


def shared_name(option: str) -> str:
    """Return the name of a shared model, for titles."""
    address = ADDRESS.fullmatch(option)
    if address is None:
        return Path(option).name
    return address["name"].rpartition("/")[2]


def check_shared(file: Path, text: str) -> None:
    """Check that a shared `model.yaml` sets the model alone.

    Raises:
        Refused: it names another package, or files other than options of its slots.
    """
    header = HEADER.search(text)
    if header:
        raise Refused(
            "a shared model sets the section model alone",
            _start_of(str(file)),
            got=f"@package {header[1]}",
            fix="leave the header out",
        )
    content = yaml.safe_load(text)
    defaults = content.get("defaults") if isinstance(content, dict) else None
    for item in defaults or ():
        if not _is_option(item):
            raise Refused(
                "a shared model chooses options of its slots, and no other files",
                _start_of(str(file)),
                "defaults",
                got=str(item)[:80],
                fits="{norm: rmsnorm}",
            )


def _is_option(item: Any) -> bool:
    """Return whether an item of a defaults list is `slot: option`, or a model to start from."""
    if isinstance(item, str):
        return NAME.fullmatch(item) is not None
    if not isinstance(item, dict):
        return False
    for slot, option in item.items():
        if not SLOT.fullmatch(str(slot)) or not NAME.fullmatch(str(option)):
            return False
    return True


def _start_of(name: str) -> yaml.Mark:
    return yaml.Mark(name, 0, 0, 0, None, 0)
