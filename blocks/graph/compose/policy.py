"""What a composed configuration may not hold, whoever wrote its files: words that let code run,
secrets, places, bombs.

The syntax of each file is checked before (`blocks.support.yaml_rules`); this is about what
the files say together.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
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

Place = tuple[Any, ...]
Origins = Mapping[Place, Origin]

WHY = {
    "library": OF_LIBRARY,
    "trust": "what is trusted is named on the command line, not in a file: its code runs",
    "limits": "limits are raised on the command line, not in a file",
    "runs": "where runs lie is said on the command line, not in a file: they could lie anywhere",
}
FIX = {
    "library": "library=[FOLDER]",
    "trust": "trust=my_package.MyCallback",
    "limits": "limits.modules=20000",
    "runs": "runs=FOLDER",
}

MADE = (
    "data",
    "task",
    "optimizer",
    "schedule",
    "trainer",
    "callbacks",
    "logger",
)  # of which objects are made
STRANGE = re.compile(r"[+~]*(library|trust|limits|runs|hydra)([./@=]|$)")
HEAVIEST = 100_000  # keys, values and letters that a configuration may grow by its ${...}


def typed_words(overrides: Sequence[Override]) -> dict[str, Any]:
    """What the command line says of `library`, `trust` and `limits`: from its words, never from a
    composed file.
    """
    found: dict[str, Any] = {}
    for override in overrides:
        name, _, rest = override.key_or_group.partition(".")
        if name in TYPED and not override.is_delete():
            value = _plain(override.value())
            found[name] = {**(found.get(name) or {}), rest: value} if rest else value
    for name in ("library", "trust"):
        if isinstance(found.get(name), str):
            found[name] = [found[name]]
    return found


def _plain(value: Any) -> Any:
    """A value of the command line without the marks of its quotes."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return (
        str(getattr(value, "text", value))
        if not isinstance(value, int | float | None.__class__)
        else value
    )


def strangers(overrides: Sequence[str]) -> Iterator[Problem]:
    """Problems with words of a command line that somebody else wrote."""
    for text in overrides:
        if found := STRANGE.match(text):
            problem = f"a run folder may not say {found[1]}: it lets code run, or writes elsewhere"
            yield Problem(
                problem,
                f"the run folder: {text}"[:100],
                fix="say it on the command line, if you trust it",
            )


def distrust(config: DictConfig, origins: Origins) -> Iterator[Problem]:
    """Problems with words that only the command line and `conf/train.yaml` may say."""
    for name in WHY:
        value = OmegaConf.to_container(config, resolve=False).get(name)  # type: ignore[union-attr]
        for path, origin in origins.items():
            strange = (
                path[0] == name
                and origin.file is not None
                and not rules_the_program(Path(origin.file))
            )
            if strange and value:
                yield Problem(WHY[name], origin, name, fix=f"{FIX[name]} on the command line")
                break


def stays_inside(place: str) -> bool:
    """Whether a path, joined to a folder, stays in it: relative, without `..`, without a home, on
    every system.
    """
    ways = (PurePath(place), PureWindowsPath(place))
    parts = {part for way in ways for part in way.parts}
    rooted = any(way.is_absolute() or way.drive or way.root for way in ways)
    return not rooted and ".." not in parts and not place.startswith("~") and "\0" not in place


def environment(config: DictConfig, origins: Origins, problems: list[Problem]) -> frozenset[Place]:
    """Paths of the values that may read the environment; what else asks for more than another key
    becomes a problem.

    A file reads the environment only for the data, which are files on this machine: everywhere else
    it could send what it read to somebody. The command line may do so wherever an object is made of
    what it says.
    """
    plain = OmegaConf.to_container(config, resolve=False)
    reads: set[Place] = set()
    weights = _Weights(plain)
    for path, text in texts(plain):
        rest = ENVIRONMENT.sub("", text)
        where, shown = _origin(origins, path), ".".join(map(str, path))
        if asks_for_more(text):
            problems.append(Problem(MAY_NAME, where, shown, got=show(text), fits=FITS_NAME))
        elif rest != text and not (
            path[0] == "data" or (_typed(origins, path) and path[0] in MADE)
        ):
            name = ENVIRONMENT.search(text)[1]  # type: ignore[index]
            fix = f"let the shell put it in: {shown}=${name}"
            problem = "a file may read the environment in the section data only, lest secrets leak"
            if _typed(origins, path):
                problem = f"the section {path[0]} does not read the environment"
            problems.append(Problem(problem, where, shown, got=show(text), fix=fix))
        elif weights.of(path) > HEAVIEST:
            fix = "a value must not refer to itself, nor ${...} stand inside ${...} many times over"
            problems.append(
                Problem("the ${...} grow without measure", where, shown, got=show(text), fix=fix)
            )
        elif rest != text:
            reads.add(path)
    return frozenset(reads)


def keep_unread(config: DictConfig) -> DictConfig:
    """The configuration with `${oc.env:NAME}` as a text, so that resolving the rest leaves it as it
    is.
    """

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept(item) for key, item in value.items()}
        if isinstance(value, list):
            return [kept(item) for item in value]
        return (
            ENVIRONMENT.sub(lambda found: f"\\{found[0]}", value)
            if isinstance(value, str)
            else value
        )

    return OmegaConf.create(kept(OmegaConf.to_container(config, resolve=False)))


def texts(value: Any, path: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every text with `${`, and where it stands."""
    if isinstance(value, str):
        if "${" in value:
            yield path, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(item, (*path, key))


class _Weights:
    """How much each value grows to when its ${...} are put in; beyond all measure where it refers
    to itself.
    """

    def __init__(self, plain: Any):
        self.plain, self.known, self.open = plain, dict[Place, int](), set[Place]()

    def of(self, path: Place) -> int:
        if path in self.open:
            return HEAVIEST + 1
        if path not in self.known:
            self.open.add(path)
            self.known[path] = min(self._weight(self._at(path), path), HEAVIEST + 1)
            self.open.discard(path)
        return self.known[path]

    def _weight(self, value: Any, path: Place) -> int:
        if isinstance(value, dict | list):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            return 1 + sum(self.of((*path, key)) for key, _ in pairs)
        if not isinstance(value, str) or "${" not in value:
            return 1 + len(value) // 10 if isinstance(value, str) else 1
        return (
            1
            + len(value) // 10
            + sum(self.of(self._target(text, path)) for text in REFERENCE.findall(value))
        )

    def _target(self, text: str, path: Place) -> Place:
        up = len(text) - len(text.lstrip("."))
        keys = tuple(
            int(key) if key.isdigit() else key
            for key in re.split(r"[.\[\]]+", text[up:].strip())
            if key
        )
        return (*path[: len(path) - up], *keys) if up else keys

    def _at(self, path: Place) -> Any:
        found = self.plain
        for key in path:
            try:
                found = (
                    found[key] if not isinstance(found, dict) or key in found else found[str(key)]
                )
            except (KeyError, IndexError, TypeError):
                return None
        return found


def _typed(origins: Origins, path: Place) -> bool:
    while path and path not in origins and isinstance(path[-1], int):
        path = path[:-1]
    return path in origins and str(origins[path].text).startswith("the command line")


def _origin(origins: Origins, path: Place) -> Origin | None:
    return next(
        (origins[path[:end]] for end in range(len(path), 0, -1) if path[:end] in origins), None
    )
