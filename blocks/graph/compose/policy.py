"""What a composed configuration must not contain, whoever wrote its files: keys that let code run,
secrets, paths outside, values that grow without bound.

The syntax of each file is checked before (`blocks.support.yaml_rules`); these rules are for the
files together.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from blocks.graph.errors import Origin, Problem, show
from blocks.support.yaml_rules import (
    ENVIRONMENT,
    FITS_NAME,
    MAY_NAME,
    OF_LIBRARY,
    REFERENCE,
    TYPED,
    asks_for_more,
    rules_the_program,
)

KeyPath = tuple[Any, ...]
Origins = Mapping[KeyPath, Origin]

WHY = {
    "library": OF_LIBRARY,
    "trust": "what is trusted is named on the command line, not in a file: its code runs",
    "limits": "limits are raised on the command line, not in a file",
    "runs": "the folder of runs is set on the command line, not in a file: it could be anywhere",
}
FIX = {
    "library": "library=[FOLDER]",
    "trust": "trust=my_package.MyCallback",
    "limits": "limits.modules=20000",
    "runs": "runs=FOLDER",
}

# Sections of which objects are made.
MADE = ("data", "task", "optimizer", "schedule", "trainer", "callbacks", "logger")
FORBIDDEN = re.compile(r"[+~]*(library|trust|limits|runs|hydra)([./@=]|$)")
RUN_FOLDER, AGENT = "the run folder", "the overrides"  # who gives overrides that are not trusted
WHO = {RUN_FOLDER: "a run folder", AGENT: "an agent"}
HEAVIEST = 100_000  # keys, values and characters that a value may grow to by its ${...}


def read_typed_keys(overrides: Sequence[Override]) -> dict[str, Any]:
    """Return the values of `library`, `trust` and `limits` on the command line, never those of a
    composed file.
    """
    found: dict[str, Any] = {}
    for override in overrides:
        name, _, rest = override.key_or_group.partition(".")
        if name in TYPED and not override.is_delete():
            value = _to_plain(override.value())
            if rest:
                value = {**(found.get(name) or {}), rest: value}
            found[name] = value
    for name in ("library", "trust"):
        if isinstance(found.get(name), str):
            found[name] = [found[name]]
    return found


def _to_plain(value: Any) -> Any:
    """Convert a value of the command line to plain types, without the marks of its quotes."""
    if isinstance(value, list):
        return list(map(_to_plain, value))
    if isinstance(value, dict):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if value is None or isinstance(value, int | float):
        return value
    return str(getattr(value, "text", value))


def check_adopted(overrides: Sequence[str], giver: str = RUN_FOLDER) -> Iterator[Problem]:
    """Yield a problem for each override of somebody else that only the user may write.

    Args:
        giver: where the overrides come from.
    """
    for text in overrides:
        found = FORBIDDEN.match(text)
        if found:
            yield Problem(
                f"{WHO[giver]} may not set {found[1]}: it lets code run, or writes elsewhere",
                f"{giver}: {text}"[:100],
                fix="set it on the command line, if you trust it",
                code="not-allowed",
            )


def check_origins(plain: Mapping[str, Any], origins: Origins) -> Iterator[Problem]:
    """Yield a problem for each key that only the command line and `conf/train.yaml` may set.

    Args:
        plain: the configuration, with each `${...}` as it is written.
    """
    for name in WHY:
        if not plain.get(name):
            continue
        for path, origin in origins.items():
            if path[0] == name and origin.file and not rules_the_program(Path(origin.file)):
                yield Problem(
                    WHY[name],
                    origin,
                    name,
                    fix=f"{FIX[name]} on the command line",
                    code="not-allowed",
                )
                break


def stays_inside(path: str) -> bool:
    """Return whether a path, joined to a folder, stays in it: relative, without `..`, without a
    home, on every system.
    """
    if ".." in (*PurePath(path).parts, *PureWindowsPath(path).parts):
        return False
    rooted = PurePath(path).is_absolute() or PureWindowsPath(path).anchor
    return not rooted and not path.startswith("~") and "\0" not in path


def check_environment(
    plain: Mapping[str, Any], origins: Origins
) -> tuple[frozenset[KeyPath], list[Problem]]:
    """Check every `${...}`: it names another key, or reads the environment where that is allowed.

    A file reads the environment only for the data, which are files on this machine: elsewhere it
    could send the value to somebody. The command line may read it wherever objects are made.

    Args:
        plain: the configuration, with each `${...}` as it is written.

    Returns:
        The paths of the values that may and do read the environment, and the problems of all
        others.
    """
    reads: set[KeyPath] = set()
    problems: list[Problem] = []
    sizes = _ResolvedSizes(plain)
    for path, text in _walk_texts(plain):
        where, shown = find_origin(origins, path), ".".join(map(str, path))
        typed = _is_typed(origins, path)
        variable = ENVIRONMENT.search(text)
        if asks_for_more(text):
            problems.append(
                Problem(
                    MAY_NAME, where, shown, got=show(text), fits=FITS_NAME, code="bad-reference"
                )
            )
        elif variable and path[0] != "data" and not (typed and path[0] in MADE):
            problem = "a file may read the environment in the section data only, lest secrets leak"
            if typed:
                problem = f"the section {path[0]} does not read the environment"
            fix = f"let the shell put it in: {shown}=${variable[1]}"
            problems.append(
                Problem(problem, where, shown, got=show(text), fix=fix, code="refused-file")
            )
        elif sizes.size_of(path) > HEAVIEST:
            fix = "a value must not refer to itself, nor ${...} stand inside ${...} many times over"
            problem = "the values of ${...} grow without bound"
            problems.append(
                Problem(problem, where, shown, got=show(text), fix=fix, code="too-large")
            )
        elif variable:
            reads.add(path)
    return frozenset(reads), problems


def keep_unread(config: DictConfig) -> DictConfig:
    """Return the configuration with `${oc.env:NAME}` escaped, so that resolving the rest leaves it
    as it is.
    """
    return OmegaConf.create(_escape_environment(OmegaConf.to_container(config, resolve=False)))


def _escape_environment(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escape_environment(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(_escape_environment, value))
    if isinstance(value, str):
        return ENVIRONMENT.sub(lambda found: f"\\{found[0]}", value)
    return value


def _list_items(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return the (key, item) pairs of a mapping or list."""
    if isinstance(value, dict):
        return value.items()
    return enumerate(value)


def _walk_texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield (path, text) for every text with `${`."""
    if isinstance(value, str):
        if "${" in value:
            yield path, value
    elif isinstance(value, dict | list):
        for key, item in _list_items(value):
            yield from _walk_texts(item, (*path, key))


class _ResolvedSizes:
    """The size of each value with its ${...} resolved; more than `HEAVIEST` where it refers to
    itself.
    """

    def __init__(self, plain: Any):
        self.plain = plain
        self.known: dict[KeyPath, int] = {}
        self.open: set[KeyPath] = set()

    def size_of(self, path: KeyPath) -> int:
        if path in self.open:
            return HEAVIEST + 1
        if path not in self.known:
            self.open.add(path)
            self.known[path] = min(self._measure(self._get(path), path), HEAVIEST + 1)
            self.open.discard(path)
        return self.known[path]

    def _measure(self, value: Any, path: KeyPath) -> int:
        size = 1
        if isinstance(value, dict | list):
            for key, _ in _list_items(value):
                size += self.size_of((*path, key))
        elif isinstance(value, str):
            size += len(value) // 10
            for text in REFERENCE.findall(value) if "${" in value else ():
                size += self.size_of(self._resolve(text, path))
        return size

    def _resolve(self, text: str, path: KeyPath) -> KeyPath:
        """Return the path of the key that `${text}` names, at a path."""
        up = len(text) - len(text.lstrip("."))
        keys: list[Any] = []
        for key in filter(None, re.split(r"[.\[\]]+", text[up:].strip())):
            keys.append(int(key) if key.isdigit() else key)
        if up:
            return (*path[: len(path) - up], *keys)
        return tuple(keys)

    def _get(self, path: KeyPath) -> Any:
        found = self.plain
        for key in path:
            if isinstance(found, dict) and key not in found:
                key = str(key)
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError):
                return None
        return found


def _is_typed(origins: Origins, path: KeyPath) -> bool:
    while path and path not in origins and isinstance(path[-1], int):
        path = path[:-1]
    return path in origins and str(origins[path].text).startswith("the command line")


def find_origin(origins: Origins, path: KeyPath) -> Origin | None:
    """Return where a value was written, or the nearest section around it."""
    for end in range(len(path), 0, -1):
        if path[:end] in origins:
            return origins[path[:end]]
    return None
