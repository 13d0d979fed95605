"""Weight maps: YAML that says for each of our tensors which of theirs fill it. Nothing in one is
executed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from blocks.graph.compose.compose import conf_folder
from blocks.graph.compose.hydra_messages import explain_refusal
from blocks.graph.errors import ConfigError, Origin, Problem, did_you_mean, show
from blocks.graph.read.origins import LOADER, read_origins
from blocks.support.yaml_rules import Refused, check

SECTIONS = ("rename", "tie", "drop", "keep", "head", "map")
LISTS = ("drop", "keep", "head")


@dataclass(frozen=True)
class Map:
    """A map as read: sections, and where each line stands."""

    name: str
    sections: Mapping[str, Any]
    origins: Mapping[tuple[Any, ...], Origin] = field(default_factory=dict)

    def origin(self, *path: str) -> Origin:
        return self.origins.get(path) or Origin(text=self.name)


def read_map(map: str | Path | Mapping[str, Any] | None, folder: Path | None = None) -> Map:
    """The map of that name or path; raises ConfigError."""
    if map is None:
        return Map("names of our own", {"map": {"{name*}": {"from": "{name*}", "fit": "own"}}})
    origins: dict[tuple[Any, ...], Origin] = {}
    if isinstance(map, Mapping):
        name, sections = "the map", map
    else:
        path = find_map(map, folder)
        name = path.stem
        try:
            sections = yaml.load(check(path), Loader=LOADER)
            found, traps = read_origins(path)
            traps = [*traps, *repeated_keys(path)]
        except Refused as error:
            raise ConfigError([explain_refusal(error)]) from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = Origin(str(path), mark.line + 1, mark.column + 1) if mark else str(path)
            raise ConfigError(
                [Problem(f"not YAML: {getattr(error, 'problem', error)}", where)]
            ) from error
        origins = {place: origin for place, origin, _ in found}
        if traps:
            raise ConfigError(traps)
    read = Map(name, sections if isinstance(sections, Mapping) else {}, origins)
    problems = [
        Problem(
            f"no section {key!r} in a map",
            read.origin(str(key)),
            fits=did_you_mean(str(key), SECTIONS),
        )
        for key in read.sections
        if key not in SECTIONS
    ]
    for key, value in read.sections.items():
        if (
            key in SECTIONS
            and value is not None
            and not isinstance(value, list if key in LISTS else Mapping)
        ):
            problem = f"{key!r} of a map is a {'list of patterns' if key in LISTS else 'mapping'}"
            problems.append(Problem(problem, read.origin(key), got=f"{key}: {show(value)}"))
    if not read.sections.get("map"):
        problems.append(Problem("a map needs lines", name, fits="map: {ours: theirs}"))
    if problems:
        raise ConfigError(problems)
    return read


def repeated_keys(path: Path) -> list[Problem]:
    """A problem for each key that a section of a map has twice, of which YAML would keep the
    last.
    """
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=LOADER)
    sections = (
        [root, *(value for _, value in root.value)] if isinstance(root, yaml.MappingNode) else []
    )
    problems = []
    for section in sections:
        first: dict[str, int] = {}
        for key, _ in section.value if isinstance(section, yaml.MappingNode) else ():
            line = key.start_mark.line + 1
            if key.value in first:
                where = Origin(str(path), line, key.start_mark.column + 1)
                got = f"line {first[key.value]} and line {line}"
                problems.append(
                    Problem(
                        f"{key.value!r} is given twice", where, got=got, fix="delete one of them"
                    )
                )
            first.setdefault(str(key.value), line)
    return problems


def find_map(name: str | Path, folder: Path | None = None) -> Path:
    """The file of a map; raises ConfigError with the maps that there are."""
    folders = [*([folder] if folder else []), conf_folder() / "weights"]
    for path in (Path(name), *(place / f"{name}.yaml" for place in folders)):
        if path.suffix == ".yaml" and path.exists():
            return path
    known = [file.stem for place in folders for file in place.glob("*.yaml")]
    fits = did_you_mean(str(name), known)
    raise ConfigError(
        [
            Problem(
                f"no map {str(name)!r}", path="weights.map", fits=fits, fix="or the path of a .yaml"
            )
        ]
    )
