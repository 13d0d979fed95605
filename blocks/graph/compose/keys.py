"""What words of the command line mean that are no override yet: `lr=0.1`, `trainer=cuda`, `--model
vit`, `vit`.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from blocks.support.yaml_rules import check, conf_folder

DEEPEST = 3  # names in a path that a person sets: model.params.depth
MOST = 3  # paths in a message
NAMES = {  # of other programs -> ours
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
MNIST = "write data=arrays data.path=FILE.npz, or a folder of IDX files; nothing is downloaded"
OPTIONS = {
    "trainer=cuda": "write trainer=gpu",
    "trainer=gpus": "write trainer=gpu",
    "device=cuda": "write trainer=gpu",
    "device=gpu": "write trainer=gpu",
    "device=cpu": "write trainer=cpu",
    "optimizer=adam": "write optimizer=adamw optimizer.weight_decay=0",
    "data=mnist": MNIST,
    "data=fashion_mnist": MNIST,
    "data=cifar10": IMAGES,
    "data=cifar100": IMAGES,
    "data=imdb": "write data=labelled data.path=FILE.csv; nothing is downloaded",
    "data=wikitext": "write data=text data.path=FILE; nothing is downloaded",
}


def explain_word(override: str, paths: Iterable[str]) -> str | None:
    """What to write for `KEY=VALUE` where there is no such key, or None.

    Args:
        override: as on the command line.
        paths: of all keys of the composed configuration.
    """
    key, _, value = override.lstrip("+").partition("=")
    parent, _, name = key.rpartition(".")
    if fix := explain_option(key, value):
        return fix
    name = NAMES.get(name, name)
    shallow = [
        path
        for path in paths
        if path.count(".") < DEEPEST and not path.startswith(("hydra.", "model.graph."))
    ]
    if found := find_named([name], shallow):
        return "write " + " or ".join(f"{path}={value}" for path in found)
    if options := [] if parent else find_options(name):
        section = options[0].partition("=")[0]
        return f"write {section}.{name}={value} with {' or '.join(options)}"
    if found := find_similar(name, shallow):
        return "write " + " or ".join(f"{path}={value}" for path in found)
    return None


def explain_option(group: str, option: str) -> str | None:
    """What to write for an option that has another name here, or None: `trainer=cuda` ->
    `trainer=gpu`.
    """
    return OPTIONS.get(f"{group}={option}".lower().replace("-", "_"))


def mend_override(override: str) -> str | None:
    """What to change in an override that cannot be read, or None."""
    if choices := find_choices(override):
        return "write " + " or ".join(choices)
    if override.partition("=")[2].lstrip().startswith(("[", "{")):
        return "close the bracket"
    return "quote it: 'key=\"a value with , = ( )\"'" if "=" in override else None


def find_named(names: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Paths that end with one of the names: params of the model, else the shortest ones."""
    found = [path for path in paths if path.rpartition(".")[2] in names]
    params = [path for path in found if path.startswith("model.params.")]
    shortest = min((path.count(".") for path in found), default=0)
    return (params or [path for path in found if path.count(".") == shortest])[:MOST]


def find_similar(name: str, paths: Sequence[str]) -> list[str]:
    """Paths whose last name ends with a name (`size` -> `data.batch_size`), else the one that is
    spelled like it.
    """
    names = {path.rpartition(".")[2] for path in paths}
    ends = [other for other in names if other.endswith(f"_{name}")]
    if ends:
        return find_named(ends, paths)
    for dots in range(DEEPEST):
        level = [path for path in paths if path.count(".") == dots]
        close = difflib.get_close_matches(
            name, {path.rpartition(".")[2] for path in level}, n=1, cutoff=0.8
        )
        if close:
            return find_named(close, level)
    return []


def walk_keys(config: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Paths of all keys of a configuration."""
    for name, value in config.items():
        path = f"{above}.{name}" if above else str(name)
        yield path
        if isinstance(value, Mapping):
            yield from walk_keys(value, path)


def find_options(name: str) -> list[str]:
    """Options of the first section of `conf/` with files that have a key: `workers` ->
    `data=images`.
    """
    for folder in sections():
        files = sorted(folder.glob("*.yaml"))
        found = [
            f"{folder.name}={file.stem}"
            for file in files
            if name in (yaml.safe_load(check(file)) or {})
        ]
        if found:
            return found[:MOST]
    return []


def find_choices(word: str) -> list[str]:
    """What a bare word chooses: `vit` -> `model=vit`."""
    return [
        f"{folder.name}={word}"
        for folder in sections()
        if word in {file.stem for file in folder.glob("*.yaml")}
    ]


def sections() -> list[Path]:
    """Folders of `conf/` with files that the command line chooses."""
    return sorted(
        folder for folder in conf_folder().iterdir() if folder.is_dir() and folder.name != "hydra"
    )
