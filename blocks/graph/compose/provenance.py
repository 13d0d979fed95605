"""Where each value of a composed configuration was written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override

from blocks.graph.compose.keys import explain_word
from blocks.graph.compose.overrides import COMMAND_LINE, on_command_line
from blocks.graph.compose.policy import FIX, WHY
from blocks.graph.errors import Origin, Problem, did_you_mean
from blocks.graph.read.loader import SEARCH_PATH, Loader
from blocks.support.conf_folders import conf_folder, is_of_the_program
from blocks.support.share.folder import locate_config
from blocks.support.yaml_rules import OF_HYDRA

KeyPath = tuple[Any, ...]
REMOVED_BY_NULL = ("inputs", "graph", "body", "in", "outputs", "entries", "tie")


class Provenance:
    """The origins of values, gathered in the order in which Hydra merges them.

    Args:
        hydra: the opened Hydra.
        loader: reads the files.
    """

    def __init__(self, hydra: GlobalHydra, loader: Loader):
        self.hydra, self.loader = hydra, loader
        self.origins: dict[KeyPath, Origin] = {}
        self.replaced: set[KeyPath] = set()  # paths that were written more than once
        self.problems: list[Problem] = []

    def add_files(
        self, defaults: Sequence[ResultDefault], overrides: Sequence[Override], config_name: str
    ) -> None:
        """Add the values of all chosen files, and the problems of the files."""
        folders = self._list_folders(overrides)
        for default in defaults:
            self._check_package(default, config_name)
            file = _find_file(default, folders)
            if file is not None:
                self._add_file(default, file)

    def add_overrides(
        self, defaults: Sequence[ResultDefault], overrides: Sequence[Override]
    ) -> None:
        """Add the values of the command line."""
        for override in overrides:
            path = tuple(override.key_or_group.split("."))
            added = override.is_add() or override.is_force_add()
            if added and len(path) == 1 and path not in self.origins:
                self.problems.append(self._make_unread_problem(path[0], override, defaults))
            value: Any = None
            if not override.is_delete():
                value = override.value()
            origin = Origin(text=on_command_line(override.input_line or ""))
            self._add_override(path, value, origin)

    def _list_folders(self, overrides: Sequence[Override]) -> list[Path]:
        """Return the folders in which Hydra searches for files."""
        search_path = self.hydra.config_loader().get_search_path().get_path()
        texts = [element.path for element in search_path]
        for override in overrides:
            if override.key_or_group == SEARCH_PATH:
                added: Any = override.value()
                texts += added
        plain = (text.removeprefix("file://") for text in texts)
        return [Path(text) for text in plain if "://" not in text]

    def _check_package(self, default: ResultDefault, config_name: str) -> None:
        """Report a defaults list that changes Hydra's own settings."""
        name, package = default.config_path or "", default.package or ""
        where = f"the defaults list of {default.parent}.yaml"
        if package.partition(".")[0] == "hydra" and not name.startswith("hydra/"):
            self.problems.append(Problem(OF_HYDRA, where, package, code="refused-file"))
        inside = str(default.parent).startswith(("hydra/", "<root>", config_name))
        if name.startswith("hydra/") and not inside:
            self.problems.append(Problem(OF_HYDRA, where, name, code="refused-file"))

    def _add_file(self, default: ResultDefault, file: Path) -> None:
        prefix: KeyPath = ()
        if default.package:
            prefix = tuple(default.package.split("."))
            self.origins.setdefault(prefix, Origin(str(file), 1, 1))
        found, traps = self.loader.read(file)
        self.problems += traps
        for path, origin, is_mapping in found:
            if len(path) == 1 and path[0] in WHY and not prefix and not default.primary:
                fix = f"{FIX[path[0]]} on the command line"
                self.problems.append(
                    Problem(WHY[path[0]], origin, path[0], fix=fix, code="refused-file")
                )
            if path[0] != "defaults":
                self._add((*prefix, *path), origin, keep_below=is_mapping)

    def _make_unread_problem(
        self, key: str, override: Override, defaults: Sequence[ResultDefault]
    ) -> Problem:
        """Make the problem of `+key=value` for a section that nothing reads."""
        text = override.input_line or ""
        meant = explain_word(text, [".".join(map(str, path)) for path in self.origins])
        fits = None
        if not meant:
            known = {path[0] for path in self.origins if len(path) == 1}
            known |= {(default.config_path or "").rpartition("/")[0] for default in defaults}
            fits = did_you_mean(key, known - {""})
        return Problem(
            f"this changes nothing: nothing reads {key!r}",
            on_command_line(text),
            fits=fits,
            fix=meant,
            code="unused",
        )

    def _add_override(self, path: KeyPath, value: Any, origin: Origin) -> None:
        self._add(path, origin, keep_below=isinstance(value, dict))
        if isinstance(value, dict):
            for key, item in value.items():
                self._add_override((*path, str(key)), item, origin)

    def _add(self, path: KeyPath, origin: Origin, keep_below: bool) -> None:
        if path in self.origins:
            self.replaced.add(path)
            if not keep_below:
                for longer in [key for key in self.origins if key[: len(path)] == path]:
                    del self.origins[longer]
        self.origins[path] = origin


def _find_file(default: ResultDefault, folders: Sequence[Path]) -> Path | None:
    """Return the file of an element of the defaults list; None for Hydra's own."""
    if default.config_path is None or default.config_path.startswith("hydra/"):
        return None
    if is_of_the_program(default.config_path):
        folders = [conf_folder()]
    for folder in folders:
        file = locate_config(folder, default.config_path)
        if file.is_file():
            return file
    return None


def mark_adopted(
    origins: Mapping[KeyPath, Origin], adopted: Sequence[str], giver: str
) -> dict[KeyPath, Origin]:
    """Return the origins, with overrides of somebody else told from those of the command line.

    Args:
        giver: where the adopted overrides come from.
    """
    marked = dict(origins)
    for path, origin in origins.items():
        text = str(origin.text).removeprefix(f"{COMMAND_LINE}: ")
        if origin.file is None and text in adopted:
            marked[path] = Origin(text=f"{giver}: {text}")
    return marked


def remove_nulls(config: dict[str, Any], replaced: set[KeyPath]) -> None:
    """Remove the inputs, nodes, outputs, entries and ties of a model that a later file or the
    command line sets to null.
    """
    for *parents, name in replaced:
        if parents[:1] != ["model"] or parents[-1] not in REMOVED_BY_NULL:
            continue
        section: Any = config
        for key in parents:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict) and section.get(name, "") is None:
            del section[name]
