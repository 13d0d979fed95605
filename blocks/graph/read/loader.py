"""How Hydra is asked, without asking the same twice.

Only this, `compose.py` and `sweep.py` know Hydra.
"""

import copy
import pickle
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import DefaultsList, create_defaults_list
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from blocks.graph.errors import Origin, Problem
from blocks.graph.read.origins import read_origins

SEARCH_PATH = "hydra.searchpath"


@lru_cache(maxsize=4096)
def parse_override(text: str) -> Override:
    """One word of the command line as Hydra reads it; its parser takes milliseconds."""
    return OverridesParser.create().parse_override(text)


class Loader:
    """Asks Hydra as anybody would, which reads every file twice."""

    def load(
        self, hydra: GlobalHydra, config_name: str, overrides: list[str]
    ) -> tuple[DictConfig, DefaultsList]:
        """The composed configuration, and the list of the files it came from."""
        config = hydra_compose(config_name, overrides)
        return config, hydra.config_loader().compute_defaults_list(
            config_name, overrides, RunMode.RUN
        )

    def read(self, file: Path) -> tuple[list[tuple[tuple[Any, ...], Origin, bool]], list[Problem]]:
        """Where each key of a file stands, and the traps in it."""
        return read_origins(file)


class Remembering(Loader):
    """Reads every file once, and composes many combinations: those that choose the same files share
    all but the values on the command line. Values are put in by Hydra's own function, so the result
    is what Hydra composes.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Any] = {}
        self.composed: dict[
            tuple[str, ...], tuple[bytes, DefaultsList]
        ] = {}  # pickled: it copies five times faster
        self.files: dict[Path, Any] = {}

    def read(self, file: Path) -> tuple[list[tuple[tuple[Any, ...], Origin, bool]], list[Problem]]:
        """Where each key of a file stands, read once."""
        if file not in self.files:
            self.files[file] = super().read(file)
        return self.files[file]

    def load(
        self, hydra: GlobalHydra, config_name: str, overrides: list[str]
    ) -> tuple[DictConfig, DefaultsList]:
        """What `Loader.load` gives, to the letter."""
        loader = hydra.config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        parsed = [parse_override(text) for text in overrides]
        searched = [each for each in parsed if each.key_or_group == SEARCH_PATH]
        if len(searched) < sum(each.key_or_group.partition(".")[0] == "hydra" for each in parsed):
            return super().load(
                hydra, config_name, overrides
            )  # Hydra's own settings change: no short cut
        place = str([each.input_line for each in searched])
        if place not in self.repositories:
            lines = [str(each.input_line) for each in searched]
            self.repositories[place] = loader._parse_overrides_and_create_caching_repo(
                config_name, lines
            )[1]
        repository = self.repositories[place]
        groups = [each for each in parsed if _is_group(each, repository)]
        values = [each for each in parsed if each not in groups]
        key = (config_name, place, *(str(each.input_line) for each in groups))
        if key not in self.composed:
            self.composed[key] = _compose(loader, repository, config_name, groups)
        whole, listed = self.composed[key]
        config: DictConfig = pickle.loads(whole)
        loader._apply_overrides_to_config([each for each in values if each not in searched], config)
        listed = copy.copy(listed)
        listed.config_overrides = values
        return config, listed


def _is_group(override: Override, repository: Any) -> bool:
    """Whether an override chooses a file rather than a value, as Hydra decides it."""
    return repository.group_exists(override.key_or_group) and not isinstance(override.value(), dict)


def _compose(
    loader: ConfigLoaderImpl, repository: Any, config_name: str, groups: list[Override]
) -> tuple[bytes, DefaultsList]:
    listed = create_defaults_list(
        repo=repository,
        config_name=config_name,
        overrides_list=groups,
        prepend_hydra=True,
        skip_missing=False,
    )
    ours = [
        default
        for default in listed.defaults
        if not (default.config_path or "").startswith("hydra/")
    ]
    config = loader._compose_config_from_defaults_list(defaults=ours, repo=repository)
    OmegaConf.set_struct(config, True)
    with open_dict(config):
        config.pop("hydra", None)
    return pickle.dumps(config), listed
