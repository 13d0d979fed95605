"""Weight maps: YAML that names, for each tensor of the model, the tensors of a file that fill it.

No code in a map is run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from blocks.graph.compose.hydra_messages import explain_refusal
from blocks.graph.errors import ConfigError, Origin, Problem, did_you_mean, show
from blocks.graph.read.origins import LOADER, read_origins
from blocks.support.conf_folders import conf_folders
from blocks.support.yaml_rules import Refused, check

SECTIONS = ("rename", "tie", "drop", "keep", "head", "map")
LISTS = ("drop", "keep", "head")


@dataclass(frozen=True)
class Map:
    """A map: its sections, and the origin of each line."""

    name: str
    sections: Mapping[str, Any]
    origins: Mapping[tuple[Any, ...], Origin] = field(default_factory=dict)

    def origin(self, *path: str) -> Origin:
        return self.origins.get(path) or Origin(text=self.name)


def read_map(map: str | Path | Mapping[str, Any] | None, folder: Path | None = None) -> Map:
    """Read the map of that name or path; raise ConfigError."""
    if map is None:
        return Map("names of our own", {"map": {"{name*}": {"from": "{name*}", "fit": "own"}}})
    if isinstance(map, Mapping):
        read = Map("the map", map)
    else:
        read = _read_file(find_map(map, folder))
    problems = []
    for key, value in read.sections.items():
        problem = _check_section(read, key, value)
        if problem is not None:
            problems.append(problem)
    if not read.sections.get("map"):
        problems.append(
            Problem("a map needs lines", read.name, fits="map: {ours: theirs}", code="missing-key")
        )
    if problems:
        raise ConfigError(problems)
    return read


def _read_file(path: Path) -> Map:
    try:
        sections = yaml.load(check(path), Loader=LOADER)
        found, traps = read_origins(path)
        traps = [*traps, *find_repeated_keys(path)]
    except Refused as error:
        raise ConfigError(explain_refusal(error)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = Origin(str(path), mark.line + 1, mark.column + 1) if mark else str(path)
        problem = Problem(
            f"not YAML: {getattr(error, 'problem', error)}", where, code="invalid-yaml"
        )
        raise ConfigError(problem) from error
    if traps:
        raise ConfigError(traps)
    if not isinstance(sections, Mapping):
        sections = {}
    return Map(path.stem, sections, {keys: origin for keys, origin, _ in found})


def _check_section(read: Map, key: Any, value: Any) -> Problem | None:
    if key not in SECTIONS:
        return Problem(
            f"no section {key!r} in a map",
            read.origin(str(key)),
            fits=did_you_mean(str(key), SECTIONS),
            code="unknown-key",
        )
    kind, what = (list, "list of patterns") if key in LISTS else (Mapping, "mapping")
    if value is None or isinstance(value, kind):
        return None
    problem = f"{key!r} of a map is a {what}"
    return Problem(problem, read.origin(key), got=f"{key}: {show(value)}", code="bad-value")


def find_repeated_keys(path: Path) -> list[Problem]:
    """Return a problem for each key that a section of a map has twice; YAML would keep the last."""
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=LOADER)
    if not isinstance(root, yaml.MappingNode):
        return []
    problems = []
    for section in (root, *(value for _, value in root.value)):
        if not isinstance(section, yaml.MappingNode):
            continue
        first: dict[str, int] = {}
        for key, _ in section.value:
            line = key.start_mark.line + 1
            if key.value in first:
                problem = Problem(
                    f"{key.value!r} is given twice",
                    Origin(str(path), line, key.start_mark.column + 1),
                    got=f"line {first[key.value]} and line {line}",
                    fix=_distinguish(str(key.value)),
                    code="duplicate-key",
                )
                problems.append(problem)
            first.setdefault(str(key.value), line)
    return problems


def _distinguish(pattern: str) -> str:
    """What to change where two lines have one pattern; one may be for layers of another kind."""
    fix, piece = "delete one of them", re.search(r"\{(\w+)\*?\}", pattern)
    if piece is None:
        return fix
    other = "n" if piece[1] != "n" else "m"
    named = pattern.replace(f"{{{piece[1]}", f"{{{other}")
    return f"{fix}; for layers of another kind write {named}"


def find_map(name: str | Path, folder: Path | None = None) -> Path:
    """Return the file of a map; raise ConfigError with the existing maps."""
    folders = [conf / "weights" for conf in conf_folders()]
    if folder:
        folders.insert(0, folder)
    for path in (Path(name), *(each / f"{name}.yaml" for each in folders)):
        if path.suffix == ".yaml" and path.exists():
            return path
    problem = Problem(
        f"no map {str(name)!r}",
        path="weights.map",
        fits=did_you_mean(
            str(name), [file.stem for each in folders for file in each.glob("*.yaml")]
        ),
        fix="or the path of a .yaml",
        code="unknown-option",
    )
    raise ConfigError(problem)
