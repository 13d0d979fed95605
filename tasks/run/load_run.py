"""Loads a finished run: its configuration, its trained network, its tokenizer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from blocks.graph import Composed, build, read_whole
from tasks.config import instantiate
from tasks.config.targets import update_targets
from tasks.data.base import TOKENIZER, read_reader_file
from tasks.data.readers.base import Reader
from tasks.data.text.tokenizer import Tokenizer
from tasks.errors import ArgumentError

PREFIX = "network."  # of the network's parameters in a checkpoint
BEST, LATEST = ("best", "last"), ("last", "best")  # checkpoints, the preferred one first
TERMS = "terms."  # of parameters of a composed loss, e.g. of projections


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Args:
        folder: the run folder.
        config: the configuration, as plain dictionaries.
        facts: the facts of the data, by name.
        network: with the weights of the best epoch, in evaluation mode.
        library: folders of the user's own blocks.
        trust: the user's own classes that `_target_` may name.
        terms: parameters of a composed loss, by name.
        state: what the task keeps with the weights, by name.
        node: the path of the node at which the network ends; None for the whole network.
        entry: the entry of the model that the network is; None for the whole model.
    """

    folder: Path
    config: dict[str, Any]
    facts: dict[str, Any]
    network: Any
    library: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)
    node: str | None = None
    entry: str | None = None

    @cached_property
    def reader(self) -> Reader:
        """The reader that makes batches of raw input, as in training.

        Raises:
            ArgumentError: the run has none.
        """
        return find_data(self.config).reader.open(self.folder, self._kept["reader"])

    @cached_property
    def classes(self) -> list[str]:
        """The names of the classes, by number.

        Raises:
            ArgumentError: the run has none.
        """
        return self._kept["classes"]

    @cached_property
    def _kept(self) -> dict[str, Any]:
        if find_data(self.config).reader is None:
            problem = f"{self.folder}: data of this kind are not read one by one"
            raise ArgumentError("run", problem)
        return read_reader_file(self.folder)

    @property
    def thresholds(self) -> list[float] | None:
        """From which probability on a sample has the label of each class; None where each has one
        class.
        """
        found = self.state.get("threshold")
        return None if found is None else found.tolist()

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the run.

        Raises:
            ArgumentError: the run has none.
        """
        path = self.folder / TOKENIZER
        if not path.exists():
            problem = f"{self.folder} has no tokenizer: it did not learn from texts"
            raise ArgumentError("run", problem)
        return Tokenizer.load(path)


def open_run(
    folder: Path,
    library: tuple[str, ...] = (),
    trust: tuple[str, ...] = (),
    *,
    newest: bool = False,
) -> Finished:
    """Load a run folder without executing anything in it: checkpoints are read as weights and plain
    data, and `library` and `trust` of its configuration are ignored.

    Args:
        newest: load the last checkpoint instead of the best one.

    Raises:
        ArgumentError: it is no run folder, has no checkpoint, or is damaged.
    """
    if not (folder / "config.yaml").is_file():
        raise ArgumentError(
            "run",
            f"{folder} is no run folder: it has no config.yaml",
            fix="the folder that the training named in its first line",
        )
    file = find_checkpoint(folder, LATEST if newest else BEST)
    try:
        config, facts, state = read_checkpoint(file)
    except Exception as error:  # torch raises whatever the damage leads to
        lines = str(error).splitlines() or [type(error).__name__]
        problem = f"{file} cannot be read: {yaml.safe_dump(lines[0]).strip()}"
        raise ArgumentError("run", problem, fix="take another run") from error
    config["model"].pop("expect", None)  # of the file, which the command line may have changed
    network = build(config["model"], facts=facts, library=library)
    try:
        network.load_state_dict(select(state, PREFIX))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ArgumentError(
            "run",
            f"the weights in {file} are not those of its model",
            got=str(error).splitlines()[-1].strip()[:100],
            fix="take another run",
        ) from error
    terms = select(state, TERMS)
    kept = {name: value for name, value in state.items() if not name.startswith((PREFIX, TERMS))}
    return Finished(folder, config, facts, network.eval(), library, trust, terms, kept)


def find_checkpoint(folder: Path, order: tuple[str, ...] = BEST) -> Path:
    """Return the first checkpoint of a run that there is.

    Raises:
        ArgumentError: there is neither.
    """
    for name in order:
        path = folder / "checkpoints" / f"{name}.ckpt"
        if path.exists():
            return path
    raise ArgumentError(
        "run",
        f"{folder} has no checkpoint",
        fits="checkpoints/best.ckpt",
        fix="train it to the end of an epoch",
    )


def read_checkpoint(file: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the configuration, the facts of the data and the parameters of a checkpoint.

    Raises:
        ValueError: its hyper-parameters are not those of a run.
    """
    content = read_whole(file)
    config = content["hyper_parameters"]["config"]
    facts = content["hyper_parameters"]["facts"]
    for part in (config, facts, config["model"], config["data"]):
        if not isinstance(part, dict):
            raise ValueError("its hyper-parameters are not those of a run")
    update_targets(config)
    return config, facts, dict(content["state_dict"])


def select(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the parameters whose names begin with a prefix, without it."""
    found = {}
    for name, value in state.items():
        if name.startswith(prefix):
            found[name.removeprefix(prefix)] = value
    return found


def find_data(values: dict[str, Any]) -> Any:
    """Return the class of the data module that a configuration names."""
    return instantiate.find_class(Composed(values), ("data",))
