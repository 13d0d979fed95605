"""How Hydra reads files here: only those that keep the rules of `blocks.support.yaml_rules`,
whoever asks for them.
"""

from pathlib import Path

from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.errors import CompactHydraException
from hydra.plugins.config_source import ConfigResult


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's reader of files, which refuses what could act or blow up before anything is made of
    it.
    """

    checks = True

    def is_config(self, config_path: str) -> bool:
        """Also what has the name of a file and is none, so that `load_config` tells what it is."""
        return (Path(self.path) / self._normalize_file_name(config_path)).exists()

    def load_config(self, config_path: str) -> ConfigResult:
        from blocks.support.yaml_rules import Refused, check

        file = Path(self.path) / self._normalize_file_name(config_path)
        if file.exists():
            try:
                check(file, Path(self.path))
            except Refused as error:
                raise CompactHydraException(str(error)) from error
        return super().load_config(config_path)


# The first reader of that name keeps its place, and Hydra registers its own after it has read this
# file.
SourcesRegistry.instance().register(FileConfigSource)
