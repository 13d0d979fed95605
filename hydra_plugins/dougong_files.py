"""How Hydra reads files: only those that follow the rules of `blocks.support.yaml_rules`."""

from pathlib import Path

from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.errors import CompactHydraException
from hydra.plugins.config_source import ConfigResult


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's reader of files; it refuses a file that could run code or exhaust the memory before
    it is parsed.
    """

    checks = True

    def is_config(self, config_path: str) -> bool:
        """Return True also for what is no regular file, so that `load_config` reports what it
        is.
        """
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


# The first reader of a scheme stays: Hydra registers its own only after it has imported this file.
SourcesRegistry.instance().register(FileConfigSource)
