"""Loads configurations by Hydra, and keeps what several of them share."""

import copy
import pickle
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
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
    """Parse an override as Hydra does. Cached: the parser takes milliseconds."""
    return OverridesParser.create().parse_override(text)


class Loader:
    """Loads a configuration by Hydra's interface, which reads every file twice."""

    def note(self, file: Path) -> None:
        """Note a file that an answer depends on besides those that are loaded."""

    def load(
        self, hydra: GlobalHydra, config_name: str, overrides: list[str]
    ) -> tuple[DictConfig, DefaultsList]:
        """Return the composed configuration, and its list of files."""
        config = hydra_compose(config_name, overrides)
        return config, hydra.config_loader().compute_defaults_list(
            config_name, overrides, RunMode.RUN
        )

    def read(self, file: Path) -> tuple[list[tuple[tuple[Any, ...], Origin, bool]], list[Problem]]:
        """Return the origin of each key of a file, and the traps in it."""
        return read_origins(file)


class CachedLoader(Loader):
    """Reads every file once. Configurations that choose the same files share all but the values of
    the command line, which Hydra's own function sets, so that the result is what Hydra composes.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, CachingConfigRepository] = {}
        # Pickled, since a pickle copies five times faster.
        self.composed: dict[tuple[str, ...], tuple[bytes, DefaultsList]] = {}
        self.files: dict[Path, Any] = {}

    def read(self, file: Path) -> tuple[list[tuple[tuple[Any, ...], Origin, bool]], list[Problem]]:
        """Return what `Loader.read` returns, read once."""
        if file not in self.files:
            self.files[file] = super().read(file)
        return self.files[file]

    def load(
        self, hydra: GlobalHydra, config_name: str, overrides: list[str]
    ) -> tuple[DictConfig, DefaultsList]:
        """Return exactly what `Loader.load` returns."""
        loader = hydra.config_loader()
        assert isinstance(loader, ConfigLoaderImpl)
        parsed = [parse_override(text) for text in overrides]
        searched = [each for each in parsed if each.key_or_group == SEARCH_PATH]
        settings = [each for each in parsed if each.key_or_group.partition(".")[0] == "hydra"]
        if len(searched) < len(settings):  # other settings of Hydra change
            return super().load(hydra, config_name, overrides)
        lines = [str(each.input_line) for each in searched]
        search_path = str(lines)
        if search_path not in self.repositories:
            self.repositories[search_path] = self.open_repository(loader, config_name, lines)
        repository = self.repositories[search_path]
        groups = [each for each in parsed if _is_group(each, repository)]
        values = [each for each in parsed if each not in groups]
        key = (config_name, search_path, *(str(each.input_line) for each in groups))
        if key not in self.composed:
            self.composed[key] = self.compose(loader, repository, config_name, groups, key)
        pickled, listed = self.composed[key]
        config: DictConfig = pickle.loads(pickled)
        loader._apply_overrides_to_config([each for each in values if each not in searched], config)
        listed = copy.copy(listed)
        listed.config_overrides = values
        return config, listed

    def open_repository(
        self, loader: ConfigLoaderImpl, config_name: str, lines: list[str]
    ) -> CachingConfigRepository:
        """Return Hydra's reader of files for a search path; it reads each once."""
        return loader._parse_overrides_and_create_caching_repo(config_name, lines)[1]

    def compose(
        self,
        loader: ConfigLoaderImpl,
        repository: IConfigRepository,
        config_name: str,
        groups: list[Override],
        key: tuple[str, ...],
    ) -> tuple[bytes, DefaultsList]:
        """Return the pickled composition of the files, and their list."""
        listed = self.list_files(repository, config_name, groups)
        return compose_files(loader, repository, listed)

    def list_files(
        self, repository: IConfigRepository, config_name: str, groups: list[Override]
    ) -> DefaultsList:
        """Return the files that Hydra chooses, in the order in which it merges them."""
        return create_defaults_list(
            repo=repository,
            config_name=config_name,
            overrides_list=groups,
            prepend_hydra=True,
            skip_missing=False,
        )


KEPT: ContextVar[Loader | None] = ContextVar("kept", default=None)


def open_loader() -> Loader:
    """Return the loader that this process keeps (`blocks.watch`), or a new one that reads every
    file once.
    """
    return KEPT.get() or CachedLoader()


def _is_group(override: Override, repository: Any) -> bool:
    """Return whether an override chooses a file rather than a value, as Hydra decides it."""
    return repository.group_exists(override.key_or_group) and not isinstance(override.value(), dict)


def compose_files(
    loader: ConfigLoaderImpl, repository: IConfigRepository, listed: DefaultsList
) -> tuple[bytes, DefaultsList]:
    """Merge the files of a list but for Hydra's own; return the result pickled, and the list."""
    own = []
    for default in listed.defaults:
        if not (default.config_path or "").startswith("hydra/"):
            own.append(default)
    config = loader._compose_config_from_defaults_list(defaults=own, repo=repository)
    OmegaConf.set_struct(config, True)
    with open_dict(config):
        config.pop("hydra", None)
    return pickle.dumps(config), listed
