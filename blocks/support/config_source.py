"""How Hydra finds and reads files in our programs: in the folders of `blocks.support.conf_folders`,
and only those that follow the rules of `blocks.support.yaml_rules`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin

from blocks.support.conf_folders import (
    conf_folder,
    is_of_the_program,
    lab_folders,
    project_folder,
)
from blocks.support.share.folder import check_shared, locate_config, shared_option
from blocks.support.yaml_rules import Refused, check

PROJECT, LAB = "project", "lab"  # Hydra's name for who named a folder


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's reader of files; it refuses a file that could run code or exhaust the memory before
    it is parsed.
    """

    def is_config(self, config_path: str) -> bool:
        """Return True also for what is no regular file, so that `load_config` reports what it
        is.
        """
        if shared_option(config_path) is not None:
            return self.provider == "main"
        if self._is_unread(config_path):
            return False
        return (Path(self.path) / self._normalize_file_name(config_path)).exists()

    def is_group(self, config_path: str) -> bool:
        return not self._is_unread(config_path) and super().is_group(config_path)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        found = super().list(config_path, results_filter)
        return [name for name in found if not self._is_unread(f"{config_path}/{name}".lstrip("/"))]

    def load_config(self, config_path: str) -> ConfigResult:
        if shared_option(config_path) is not None:
            return self._load_shared(config_path)
        file = Path(self.path) / self._normalize_file_name(config_path)
        if file.exists():
            try:
                check(file, Path(self.path))
            except Refused as error:
                raise CompactHydraException(str(error)) from error
        return super().load_config(config_path)

    def _load_shared(self, config_path: str) -> ConfigResult:
        """Load the YAML of a shared model, which may set the section `model` alone."""
        try:
            file = locate_config(Path(self.path), config_path)
            check_shared(file, check(file, file.parent))
        except Refused as error:
            raise CompactHydraException(str(error)) from error
        return type(self)(self.provider, f"file://{file.parent}").load_config(file.stem)

    def _is_unread(self, config_path: str) -> bool:
        """Return whether a project or a package has a file that only the program may have."""
        return self.provider in (PROJECT, LAB) and is_of_the_program(config_path)


class ConfSearchPath(SearchPathPlugin):
    """Adds the project's folder before the program's own, and those of packages behind it."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if not is_ours(search_path):
            return
        project = project_folder()
        if project is not None:
            search_path.prepend(PROJECT, f"file://{project}", SearchPathQuery(provider="main"))
        for folder in lab_folders():
            search_path.append(LAB, f"file://{folder}")


def is_ours(search_path: ConfigSearchPath) -> bool:
    """Return whether Hydra reads our folder, rather than that of another program."""
    mine = str(conf_folder())
    return any(element.path in (mine, f"file://{mine}") for element in search_path.get_path())


@contextmanager
def checked_files() -> Iterator[None]:
    """Let Hydra find and read files as above, within this context."""
    plugins, readers = Plugins.instance(), SourcesRegistry.instance().types
    plugins.register(ConfSearchPath)
    before = readers["file"]
    readers["file"] = FileConfigSource
    try:
        yield
    finally:
        readers["file"] = before
