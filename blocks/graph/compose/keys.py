"""What arguments that are no valid override mean: `lr=0.1`, `trainer=cuda`, `vit`."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from blocks.support.conf_folders import conf_folders, is_of_the_program
from blocks.support.yaml_rules import check

DEEPEST = 3  # names in a path that a person sets: model.params.depth
MAX_SHOWN = 3  # paths in a message
NAMES = {  # of other programs -> of this one
    "learning_rate": "lr",
    "wd": "weight_decay",
    "epoch": "max_epochs",
    "epochs": "max_epochs",
    "steps": "max_steps",
    "bs": "batch_size",
    "batch": "batch_size",
    "num_workers": "workers",
    "gpus": "devices",
    "layers": "depth",
    "width": "dim",
}
IMAGES = "write data=images data.path=FOLDER, with a folder for each class; nothing is downloaded"
OPTIONS = {
    "trainer=cuda": "write trainer=gpu",
    "trainer=gpus": "write trainer=gpu",
    "device=cuda": "write trainer=gpu",
    "device=gpu": "write trainer=gpu",
    "device=cpu": "write trainer=cpu",
    "optimizer=adam": "write optimizer=adamw optimizer.weight_decay=0",
    "data=cifar100": IMAGES,
    "data=imdb": "write data=labelled data.path=FILE.csv; nothing is downloaded",
    "data=wikitext": "write data=text data.path=FILE; nothing is downloaded",
}


def explain_word(override: str, paths: Iterable[str]) -> str | None:
    """Return what to write for `KEY=VALUE` where there is no such key, or None.

    Args:
        override: as on the command line.
        paths: of all keys of the composed configuration.
    """
    key, _, value = override.lstrip("+").partition("=")
    parent, _, name = key.rpartition(".")
    fix = explain_option(key, value)
    if fix is not None:
        return fix
    name = NAMES.get(name, name)
    shallow = []
    for path in paths:
        if parent and "." not in path:
            continue  # a section is not meant by the name of a key in another one
        if path.count(".") < DEEPEST and not path.startswith(("hydra.", "model.graph.")):
            shallow.append(path)
    found = find_named([name], shallow)
    if not found and not parent:
        options = find_options(name)
        if options:
            section = options[0].partition("=")[0]
            return f"write {section}.{name}={value} with {' or '.join(options)}"
    found = found or find_similar(name, shallow)
    if not found:
        return None
    return "write " + " or ".join(f"{path}={value}" for path in found)


def explain_option(group: str, option: str) -> str | None:
    """Return what to write for an option that has another name here, or None: `trainer=cuda` ->
    `trainer=gpu`.
    """
    return OPTIONS.get(f"{group}={option}".lower().replace("-", "_"))


def mend_override(override: str) -> str | None:
    """Return what to change in an override that cannot be read, or None."""
    choices = find_choices(override)
    if choices:
        return "write " + " or ".join(choices)
    if override.partition("=")[2].lstrip().startswith(("[", "{")):
        return "close the bracket"
    if "=" in override:
        return "quote it: 'key=\"a value with , = ( )\"'"
    return None


def find_named(names: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Return the paths that end with one of the names: params of the model, else the shortest."""
    found = [path for path in paths if path.rpartition(".")[2] in names]
    params = [path for path in found if path.startswith("model.params.")]
    if params:
        return params[:MAX_SHOWN]
    depths = [path.count(".") for path in found]
    shortest = [path for path in found if path.count(".") == min(depths)]
    return shortest[:MAX_SHOWN]


def find_similar(name: str, paths: Sequence[str]) -> list[str]:
    """Return the paths whose last name ends with a name (`size` -> `data.batch_size`), else the one
    with a similar spelling.
    """
    ends = [last for last in _last_names(paths) if last.endswith(f"_{name}")]
    if ends:
        return find_named(ends, paths)
    for dots in range(DEEPEST):
        level = [path for path in paths if path.count(".") == dots]
        close = difflib.get_close_matches(name, _last_names(level), n=1, cutoff=0.8)
        if close:
            return find_named(close, level)
    return []


def _last_names(paths: Iterable[str]) -> set[str]:
    return {path.rpartition(".")[2] for path in paths}


def walk_keys(config: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield the paths of all keys of a configuration."""
    for name, value in config.items():
        path = f"{above}.{name}" if above else str(name)
        yield path
        if isinstance(value, Mapping):
            yield from walk_keys(value, path)


def find_options(name: str) -> list[str]:
    """Return the options of the first section of `conf/` whose files have a key: `workers` ->
    `data=images`. Those that require a value come first.
    """
    for folder in list_sections():
        required: list[str] = []
        found: list[str] = []
        for file in sorted(folder.glob("*.yaml")):
            values = yaml.safe_load(check(file)) or {}
            if name in values:
                kind = required if values[name] == "???" else found
                kind.append(f"{folder.name}={file.stem}")
        if required or found:
            return [*required, *found][:MAX_SHOWN]
    return []


def find_owners(group: str, keys: Sequence[str]) -> list[str]:
    """Return the options of a section whose files, or the files that these start from, have a key:
    `data`, `["path"]` -> `images`, `table`.

    Args:
        group: a folder of `conf/`.
        keys: the path of the key below the section.
    """
    found = []
    for folder in list_sections():
        if folder.name == group:
            files = sorted(folder.glob("*.yaml"))
            found += [file.stem for file in files if _owns_key(file, keys)]
    return found


def _owns_key(file: Path, keys: Sequence[str]) -> bool:
    try:
        values = yaml.safe_load(check(file)) or {}
    except (OSError, yaml.YAMLError):
        return False
    for base in values.get("defaults") or ():
        start = file.with_name(f"{base}.yaml")
        if isinstance(base, str) and start != file and start.is_file() and _owns_key(start, keys):
            return True
    return _has_path(values, keys)


def _has_path(values: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def find_choices(word: str) -> list[str]:
    """Return the overrides that choose a file of this name: `vit` -> `model=vit`."""
    found = []
    for folder in list_sections():
        if word in {file.stem for file in folder.glob("*.yaml")}:
            found.append(f"{folder.name}={word}")
    return found


def list_sections() -> list[Path]:
    """Return the folders whose files the command line chooses, e.g. `conf/model`."""
    found = []
    for conf in conf_folders():
        folders = filter(Path.is_dir, conf.iterdir())
        found += sorted(folder for folder in folders if not is_of_the_program(folder.name))
    return found
