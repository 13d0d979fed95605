"""A finished run, opened again: its configuration, its trained network, its tokenizer."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from blocks.graph import Composed, build, read_archive
from tasks.config import instantiate
from tasks.config.targets import update_targets
from tasks.data.base import TOKENIZER, read_kept
from tasks.data.readers.base import Reader
from tasks.data.text.tokenizer import Tokenizer
from tasks.errors import ArgumentError


@dataclass(frozen=True)
class Finished:
    """What a run left behind.

    Args:
        place: the run folder.
        config: the configuration, as plain dictionaries.
        facts: what the data said of themselves.
        network: with the weights of the best epoch, in evaluation mode.
        library: where the user's own blocks are.
        trust: classes of the user's own that may stand behind `_target_`.
    """

    place: Path
    config: dict[str, Any]
    facts: dict[str, Any]
    network: Any
    library: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()

    @cached_property
    def reader(self) -> Reader:
        """What makes batches of raw input, as in training; raises ArgumentError where the run has
        none.
        """
        return find_data(self.config).reader.open(self.place, self._kept["reader"])

    @cached_property
    def classes(self) -> list[str]:
        """The names of the classes, by number; raises ArgumentError as `reader`."""
        return self._kept["classes"]

    @cached_property
    def _kept(self) -> dict[str, Any]:
        if find_data(self.config).reader is None:
            raise ArgumentError("run", f"{self.place}: data of this kind are not read one by one")
        return read_kept(self.place)

    @property
    def tokenizer(self) -> Tokenizer:
        """Raises ArgumentError where the run has none."""
        path = self.place / TOKENIZER
        if not path.exists():
            raise ArgumentError(
                "run", f"{self.place} has no tokenizer: it did not learn from texts"
            )
        return Tokenizer.load(path)


def open_run(place: Path, library: tuple[str, ...] = (), trust: tuple[str, ...] = ()) -> Finished:
    """Open a run folder. Nothing in it is executed: weights only, plain data; `library` and
    `trust` in it do not count.

    Raises:
        ArgumentError: no run folder, no checkpoint, or a damaged one.
    """
    if not (place / "config.yaml").is_file():
        fix = "the folder that train.py named in its first line"
        raise ArgumentError("run", f"{place} is no run folder: it has no config.yaml", fix=fix)
    file = next(
        (
            path
            for name in ("best", "last")
            if (path := place / "checkpoints" / f"{name}.ckpt").exists()
        ),
        None,
    )
    if file is None:
        fix = "train it to the end of an epoch"
        raise ArgumentError(
            "run", f"{place} has no checkpoint", fits="checkpoints/best.ckpt", fix=fix
        )
    try:
        kept = read_archive(file)
        config, facts = kept["hyper_parameters"]["config"], kept["hyper_parameters"]["facts"]
        weights = {
            name: value for name, value in kept["state_dict"].items() if name.startswith("network.")
        }
        if not all(
            isinstance(part, dict) for part in (config, facts, config["model"], config["data"])
        ):
            raise ValueError("its hyper-parameters are not those of a run")
        update_targets(config)
    except Exception as error:  # torch raises what the damage happens to hit
        text = yaml.safe_dump(
            str(error).splitlines()[0] if str(error) else type(error).__name__
        ).strip()
        raise ArgumentError(
            "run", f"{file} cannot be read: {text}", fix="take another run"
        ) from error
    network = build(config["model"], facts=facts, library=library)
    try:
        network.load_state_dict(
            {name.removeprefix("network."): value for name, value in weights.items()}
        )
    except (RuntimeError, TypeError, AttributeError) as error:
        got, fix = str(error).splitlines()[-1].strip()[:100], "take another run"
        raise ArgumentError(
            "run", f"the weights in {file} are not those of its model", got=got, fix=fix
        ) from error
    return Finished(place, config, facts, network.eval(), library, trust)


def find_data(values: dict[str, Any]) -> Any:
    """The class of the data module that a configuration names."""
    return instantiate.find_class(Composed(values), ("data",))
