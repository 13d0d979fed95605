"""Loads configurations again and again while their files change, reading only what changed."""

import pickle
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import (
    CachingConfigRepository,
    ConfigRepository,
    IConfigRepository,
)
from hydra._internal.defaults_list import DefaultsList, _has_config_content
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

from blocks.graph.errors import Origin, Problem
from blocks.graph.read.edits import (
    Edits,
    apply_edits,
    find_edits,
    follows_values,
    is_last,
    is_plain,
    make_quick_loader,
    move,
    read_content,
)
from blocks.graph.read.loader import CachedLoader, compose_files, parse_override
from blocks.graph.read.probes import Probes
from blocks.support.share.folder import locate_config, shared_option
from blocks.support.yaml_rules import Refused, check

MOST = 64  # compositions that are kept

FileKey = tuple[str, str, str | None]  # where Hydra searches, the name of a file, its section


class LiveLoader(CachedLoader):
    """Returns what `CachedLoader` returns for the files as they are now.

    `refresh` is called before each composition. A file whose content alone changed is read again.
    Hydra's list of files is kept while no file that was looked for to make it changes its defaults
    list, appears or disappears.
    """

    def __init__(self) -> None:
        super().__init__()
        self.probes = Probes()
        self.opening: set[Path] = set()  # looked for while a search path was opened
        self.lists: dict[tuple[str, ...], DefaultsList] = {}
        self.looked: dict[tuple[str, ...], set[Path]] = {}  # for, to make a list
        self.embedded: dict[FileKey, bytes] = {}
        self.contents: dict[FileKey, Any] = {}  # of files, in their sections

    def refresh(self) -> list[Path]:
        """Drop what is no longer true; return the files that changed since the last call."""
        changed = self.probes.find_changed()
        if len(self.lists) > MOST:
            self._forget()
        for path in changed:
            self.files.pop(path, None)
            if not self._lists_the_same(path):
                self._drop(path)
        return changed

    def _forget(self) -> None:
        for kept in (self.repositories, self.composed, self.lists, self.looked):
            kept.clear()
        for files in (self.embedded, self.contents, self.files, self.opening):
            files.clear()
        self.probes.forget()

    def _drop(self, path: Path) -> None:
        """Drop all that was made of a file, or of there being none."""
        names = {search: _name(path, each) for search, each in self.repositories.items()}
        if path in self.opening or not any(names.values()):
            self._forget()
            return
        for key in [key for key, looked in self.looked.items() if path in looked]:
            del self.lists[key], self.looked[key]
            self.composed.pop(key, None)
        for search_path, repository in self.repositories.items():
            for name in names[search_path]:
                repository.cache.pop(f"config_path={name}", None)
        for file in [*self.embedded, *self.contents]:
            if file[1] in names.get(file[0], ()):
                self.embedded.pop(file, None)
                self.contents.pop(file, None)

    def _lists_the_same(self, path: Path) -> bool:
        """Read a changed file again and change what was composed of it; return whether Hydra would
        list the same files.
        """
        is_known = False
        for search_path, repository in self.repositories.items():
            for name, before in list(repository.cache.items()):
                name = name.removeprefix("config_path=")
                if before is None or _locate(before, name) != path:
                    continue
                is_known = True
                edits = _find_values(repository, name, path, before)
                if edits is None:
                    repository.cache.pop(f"config_path={name}")
                    try:
                        after = repository.load_config(name)
                    except Exception:  # the next composition reports it with its place
                        return False
                    if after is None or _listing_of(after) != _listing_of(before):
                        return False
                    edits = find_edits(read_content(before.config), read_content(after.config))
                self._change_content(search_path, name, edits)
                self._change(search_path, name, edits)
        return is_known

    def _change_content(self, search_path: str, name: str, edits: Edits | None) -> None:
        """Change what is kept of a file."""
        for key in [key for key in self.embedded if key[:2] == (search_path, name)]:
            self._read_content(key)
            del self.embedded[key]
        for key in [key for key in self.contents if key[:2] == (search_path, name)]:
            if edits is None:
                del self.contents[key]
            else:
                apply_edits(self.contents[key], move(edits, key[2]))

    def _change(self, search_path: str, name: str, edits: Edits | None) -> None:
        """Change the compositions that a file is part of, or drop them.

        Args:
            edits: of the file; None where more than values changed.
        """
        for key, (pickled, listed) in list(self.composed.items()):
            files = [default for default in listed.defaults if default.config_path == name]
            if key[1] != search_path or not files:
                continue
            del self.composed[key]
            if edits is None or len(files) > 1:
                continue
            moved = move(edits, files[0].package)
            start = listed.defaults.index(files[0])
            later = self._read_contents(search_path, listed.defaults[start + 1 :])
            earlier = self._read_contents(search_path, listed.defaults[:start])
            if earlier is None or later is None:
                continue
            if any(map(follows_values, [*earlier, *later])):
                continue
            if is_last(moved, later):
                config: DictConfig = pickle.loads(pickled)
                apply_edits(config, moved)
                self.composed[key] = pickle.dumps(config), listed

    def _read_contents(
        self, search_path: str, defaults: Sequence[ResultDefault]
    ) -> list[Any] | None:
        """Return the contents of files, each in its section; None where one was not kept."""
        contents = []
        for default in defaults:
            if (default.config_path or "").startswith("hydra/"):
                continue
            key = (search_path, str(default.config_path), default.package)
            if key not in self.contents and key not in self.embedded:
                return None
            contents.append(self._read_content(key))
        return contents

    def _read_content(self, key: FileKey) -> Any:
        if key not in self.contents:
            kept: ConfigResult = pickle.loads(self.embedded[key])
            self.contents[key] = read_content(kept.config)
        return self.contents[key]

    def note(self, file: Path) -> None:
        """Remember a file that an answer depends on besides those that are loaded."""
        self.probes.add(file)

    def read(self, file: Path) -> tuple[list[tuple[tuple[Any, ...], Origin, bool]], list[Problem]]:
        """Return what `Loader.read` returns, read once for each change."""
        self.probes.add(file)
        return super().read(file)

    def open_repository(
        self, loader: ConfigLoaderImpl, config_name: str, lines: list[str]
    ) -> CachingConfigRepository:
        """Return Hydra's reader of files for a search path; it remembers what it looks for."""
        repository = _ProbedRepository(loader.repository, self.probes)
        repository.looked = self.opening
        loader._process_config_searchpath(config_name, list(map(parse_override, lines)), repository)
        return repository

    def compose(
        self,
        loader: ConfigLoaderImpl,
        repository: IConfigRepository,
        config_name: str,
        groups: list[Override],
        key: tuple[str, ...],
    ) -> tuple[bytes, DefaultsList]:
        """Return the pickled composition of the files, and their list."""
        if key not in self.lists:
            assert isinstance(repository, _ProbedRepository)
            repository.looked = set()
            self.lists[key] = self.list_files(repository, config_name, groups)
            self.looked[key] = repository.looked
        kept = _KeptFiles(loader, self.embedded, key[1])
        return compose_files(kept, repository, self.lists[key])


class _ProbedRepository(CachingConfigRepository):
    """Reads each file once, and remembers every file and folder that Hydra looks for."""

    def __init__(self, delegate: IConfigRepository, probes: Probes):
        super().__init__(delegate)
        self.probes = probes
        self.looked: set[Path] = set()  # for, since a list was begun

    def load_config(self, config_path: str) -> ConfigResult | None:
        if shared_option(config_path) is not None:
            with suppress(Refused):  # the reader of files refuses it with its place
                self._look(locate_config(Path(), config_path))
        else:
            self._probe(f"{config_path}.yaml")
        return super().load_config(config_path)

    def config_exists(self, config_path: str) -> bool:
        self._probe(f"{config_path}.yaml")
        return super().config_exists(config_path)

    def group_exists(self, config_path: str) -> bool:
        self._probe(config_path)
        return super().group_exists(config_path)

    def _probe(self, name: str) -> None:
        for source in self.get_sources():
            if source.scheme() == "file":
                self._look(Path(source.path) / name)

    def _look(self, path: Path) -> None:
        self.probes.add(path)
        self.looked.add(path)


class _KeptFiles(ConfigLoaderImpl):
    """Hydra's loader, which keeps each file as it is merged: in its section, without aliases."""

    def __init__(self, loader: ConfigLoaderImpl, embedded: dict[FileKey, bytes], search_path: str):
        self.loader, self.embedded, self.search_path = loader, embedded, search_path

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        key = (self.search_path, str(default.config_path), default.package)
        if key not in self.embedded:
            found = self.loader._load_single_config(default, repo)
            self.embedded[key] = pickle.dumps(found)
        kept: ConfigResult = pickle.loads(self.embedded[key])
        return kept


def _find_values(
    repository: CachingConfigRepository, name: str, path: Path, before: ConfigResult
) -> Edits | None:
    """Change the values of a file in what Hydra read of it, which takes a fifth of the time of
    reading it again; return them. None where it must be read again.
    """
    if not isinstance(repository.delegate, ConfigRepository):
        return None
    try:
        text = check(path, Path(before.path.removeprefix("file://")))
        after = yaml.load(text, Loader=make_quick_loader())
        listed = OmegaConf.create({"defaults": after.pop("defaults", [])})
        defaults = repository.delegate._extract_defaults_list(name, listed)
        listing = repository.delegate._create_defaults_list(name, defaults)
    except Exception:  # what is wrong is reported where the file is read again
        return None
    header = ConfigSource._get_header_dict(text[:512])
    if header != before.header or listing != before.defaults_list:
        return None
    edits = find_edits(read_content(before.config), after)
    if edits is None or not all(map(is_plain, edits.values())):
        return None
    apply_edits(before.config, edits)
    return edits


def _locate(result: ConfigResult, name: str) -> Path:
    """Return the file that a configuration was read from."""
    return locate_config(Path(result.path.removeprefix("file://")), name)


def _name(path: Path, repository: IConfigRepository) -> set[str]:
    """Return the names by which Hydra would find a path."""
    names = set()
    for source in repository.get_sources():
        if source.scheme() == "file" and path.is_relative_to(source.path):
            names.add(path.relative_to(source.path).as_posix().removesuffix(".yaml"))
    return names


def _listing_of(result: ConfigResult) -> tuple[Any, ...]:
    """Return what Hydra's list of files depends on in a file."""
    has_content = isinstance(result.config, DictConfig) and _has_config_content(result.config)
    return result.path, result.header, result.defaults_list, has_content
