"""What Hydra composes, as plain dictionaries, and where each value came from.

`loader.py` asks it.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from blocks.graph.compose.keys import explain_option, explain_word, walk_keys
from blocks.graph.compose.overrides import COMMAND_LINE, on_command_line, parse_overrides, readable
from blocks.graph.compose.policy import (
    FIX,
    WHY,
    distrust,
    environment,
    keep_unread,
    strangers,
    typed_words,
)
from blocks.graph.errors import ConfigError, Origin, Problem, did_you_mean, find_look_alike
from blocks.graph.read.loader import Loader, Remembering, parse_override
from blocks.support.environment import unread_environment
from blocks.support.files import kind_of, read_file
from blocks.support.yaml_rules import OF_HYDRA, Refused, check, conf_folder


@dataclass
class Composed:
    """A composed configuration.

    Args:
        config: plain dictionaries and lists, interpolations resolved; `???` stays where a value is
            missing.
        origins: path of a key -> where it was written.
        choices: group -> the option chosen, e.g. {"model/attention": "full"}.
        overrides: the command line.
        typed: what only the command line may say, and said: `library`, `trust`, `limits`.
        environment: paths of values that read the environment, and may; they stay as written,
            `${oc.env:NAME}`.
    """

    config: dict[str, Any]
    origins: dict[tuple[Any, ...], Origin] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    typed: dict[str, Any] = field(default_factory=dict)
    environment: frozenset[tuple[Any, ...]] = frozenset()

    def is_typed(self, path: Sequence[Any]) -> bool:
        """Whether the command line gave exactly this value."""
        origin = self.origins.get(tuple(path))
        return origin is not None and str(origin.text).startswith(COMMAND_LINE)

    def origin(self, path: str | Sequence[Any]) -> Origin:
        """Where the value at a path was written; for one that no text names, where the nearest
        around it was.
        """
        keys = tuple(path.split(".")) if isinstance(path, str) else tuple(path)
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.origins:
                return self.origins[keys[:end]]
        return Origin(text="the composed configuration")

    @property
    def altered(self) -> bool:
        """Whether the command line changes the model beyond choosing it."""
        return any(re.match(r"[+~]*model[./]", override) for override in self.overrides)


def compose(
    overrides: Sequence[str] = (),
    config_name: str = "train",
    config_dir: str | None = None,
    loader: Loader | None = None,
    adopted: Sequence[str] = (),
) -> Composed:
    """Compose `conf/train.yaml` with overrides as on the command line.

    Args:
        config_dir: a folder with YAML of the user's own, searched after the project's `conf/`.
        loader: one that is kept, for many compositions in a row.
        adopted: overrides of a run folder, before `overrides`. Somebody else may have written them,
            so they count as a file does, not as the command line.

    Raises:
        ConfigError: every override that does not fit, every trap in a file, or the file that cannot
            be read.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(
            [
                Problem(
                    f"no folder {config_dir!r}",
                    "the command line: --config-dir",
                    got=kind_of(config_dir),
                    fits="a folder with model/, data/, ...",
                )
            ]
        )
    loader = loader or Remembering()
    strange = [readable(text) for text in adopted]
    overrides = [*strange, *(readable(text) for text in overrides)]
    with opened_hydra() as hydra:
        good, problems = parse_overrides(overrides)
        problems += strangers(strange)
        if config_dir is not None:
            good.insert(0, f"hydra.searchpath=['file://{Path(config_dir).resolve()}']")
        while True:
            try:
                config, listed = loader.load(hydra, config_name, good)
                break
            except (
                HydraException,
                OmegaConfBaseException,
                yaml.YAMLError,
                ValueError,
                RecursionError,
            ) as error:
                problem, culprit = _explain(error, good, config_name)
                problems.append(problem)
                if culprit is None:
                    raise ConfigError(problems) from error
                good = [override for override in good if override != culprit]
        origins, replaced, traps = _origins(
            hydra, loader, listed.defaults, listed.config_overrides, config_name
        )
    origins = (
        {path: _of_the_run(origin, strange) for path, origin in origins.items()}
        if strange
        else origins
    )
    problems += traps
    choices = dict(map(_choice, listed.defaults))
    choices = {
        group: option
        for group, option in choices.items()
        if group and not group.startswith("hydra/")
    }
    problems += distrust(config, origins)
    told = len(problems)
    reads = environment(config, origins, problems)
    plain = (
        _plain(keep_unread(config) if reads else config, origins, problems)
        if len(problems) == told
        else {}
    )
    _remove_nulls(plain, replaced)
    typed = typed_words([parse_override(text) for text in good if text not in strange])
    composed = Composed(plain, origins, choices, tuple(overrides), typed, reads)
    if problems:
        raise ConfigError(problems)
    return composed


def _choice(default: ResultDefault) -> tuple[str, str]:
    """Where a file is put, as a group, and its name: `residual@model.scaled: layerscale` fills
    `model/scaled`.
    """
    group, _, option = (default.config_path or "").rpartition("/")
    package = (default.package or "").replace(".", "/")
    beside = "/" in group and package.rpartition("/")[0] == group.rpartition("/")[0]
    return (package if beside else group), option


@lru_cache(maxsize=1)
def stated_facts() -> frozenset[str]:
    """Names of the facts that the files of `conf/data` declare."""
    files = (conf_folder() / "data").glob("*.yaml")
    declared = (yaml.safe_load(check(file)).get("facts") or {} for file in files)
    return frozenset(str(name) for facts in declared for name in facts)


@contextmanager
def opened_hydra() -> Iterator[GlobalHydra]:
    """Hydra as it is inside a job, or set up for the project's own `conf/`; it does not read the
    environment.
    """
    instance = GlobalHydra.instance()
    if instance.is_initialized():
        with unread_environment():
            yield instance
        return
    with (
        unread_environment(),
        initialize_config_dir(str(conf_folder()), version_base="1.3", job_name="dougong"),
    ):
        if not getattr(SourcesRegistry.instance().resolve("file"), "checks", False):
            raise RuntimeError(
                "hydra_plugins/ of this project is not found: YAML files would be read unchecked"
            )
        yield GlobalHydra.instance()


def _of_the_run(origin: Origin, strange: Sequence[str]) -> Origin:
    """The place of a value that a run folder asks for: not the command line."""
    text = str(origin.text).removeprefix(f"{COMMAND_LINE}: ")
    return (
        Origin(text=f"the run folder: {text}")
        if origin.file is None and text in strange
        else origin
    )


YAML_FIXES = {
    "duplicate key": "keep one of the two",
    "'\\t'": "indent with spaces, not with a tab",
    "found '?'": 'inside braces and brackets put it in quotes: "???"',
    "expected ','": "close what a bracket or a brace opened, or add the comma",
    "mapping values": "put a text with a colon in quotes, or start the key on a line of its own",
    "cannot start any token": "put the text in quotes",
    "alias": "put a text that begins with * in quotes",
    "expected ':'": "end the key with a colon and a space",
    "<block end>": "indent all keys of a mapping alike",
}


def _line_of(mark: yaml.Mark) -> str | None:
    """The line of the file that a mark points at."""
    lines = _lines(Path(mark.name))
    if not lines:
        return None
    return (
        " ".join(lines[mark.line].split())[:80] if mark.line < len(lines) else "the end of the file"
    )


def _lines(file: Path) -> list[str]:
    """The lines of a file, none where it cannot be read."""
    try:
        return read_file(file).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _explain(
    error: Exception, overrides: list[str], config_name: str
) -> tuple[Problem, str | None]:
    """A problem for an exception of Hydra's, and the override at fault where there is one."""
    text = str(error)
    if isinstance(error.__cause__, Refused):
        return refusal(error.__cause__), None
    if isinstance(error, RecursionError):
        fix = "a file must not name itself in its defaults list, nor a value refer to itself"
        return Problem(
            "the configuration refers to itself without end", "the composed configuration", fix=fix
        ), None
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark, what = error.problem_mark, str(error.problem)
        if error.context_mark is not None and find_look_alike(_line_of(error.context_mark) or ""):
            mark = error.context_mark
        fix = next(
            (fix for sign, fix in YAML_FIXES.items() if sign in what),
            "look at brackets, quotes and indentation here and above",
        )
        return Problem(
            f"not YAML: {what}",
            Origin(mark.name, mark.line + 1, mark.column + 1),
            got=_line_of(mark),
            fix=fix,
        ), None
    if isinstance(error, yaml.YAMLError):
        return Problem(f"not YAML: {text.splitlines()[0]}"), None
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        culprit = next(
            (o for o in overrides if re.sub(r"^[+~]*", "", o).split("@")[0] == f"{group}={option}"),
            None,
        )
        fits = (
            did_you_mean(option, error.options)
            if error.options
            else f"a file {group}/{option}.yaml, or a list of {{folder: file}}"
        )
        return Problem(
            f"{group or config_name} has no option {option!r}",
            on_command_line(culprit)
            if culprit
            else _in_chosen(overrides, option) or _in_defaults(text, option),
            got=f"{group}={option}",
            fits=fits,
            fix="let the shell put it in: $NAME"
            if "${" in (culprit or "")
            else explain_option(group, option),
        ), culprit
    key = re.search(r"Could not[^']*'([^']+)'", text)
    if key:
        name = key[1].partition("@")[0]
        culprit = next(
            (o for o in overrides if re.sub(r"^[+~]*", "", o).split("=")[0].split("@")[0] == name),
            None,
        )
        return _bad_key(
            name, culprit, [o for o in overrides if o != culprit], text, config_name
        ), culprit
    text = text or str(error.__cause__ or type(error).__name__)
    named = re.search(r"[iI]n '([^']+)'", text)
    if "Config group override" in text and (culprit := _no_choice(overrides)):
        fix = "the name of one of its files, or a value by its path: group.key=value"
        return Problem(
            "a group is chosen by a name",
            on_command_line(culprit),
            got=text.rpartition("Got ")[2],
            fix=fix,
        ), culprit
    return Problem(
        text.splitlines()[0][:100],
        f"{named[1]}.yaml" if named else "the composed configuration",
        fix="look at the defaults list and at ${...}",
    ), None


def _in_chosen(overrides: list[str], word: str) -> Origin | None:
    """The line of a file that the command line chose which names `word` in its defaults list."""
    for text in overrides:
        group, _, option = text.lstrip("+~").partition("=")
        for folder in _folders(overrides):
            file = folder / group / f"{option}.yaml"
            for number, line in enumerate(_lines(file), 1):
                if "override" in line and (place := re.search(rf"\b{re.escape(word)}\b", line)):
                    return Origin(str(file), number, place.start() + 1)
    return None


def _no_choice(overrides: list[str]) -> str | None:
    """The override that chooses a file of a group by something that is no name."""
    folders = _folders(overrides)
    for text in overrides:
        group = text.lstrip("+~").partition("=")[0]
        is_group = "." not in group and any((folder / group).is_dir() for folder in folders)
        if is_group and not isinstance(parse_override(text).value(), str | list | dict):
            return text
    return None


def _folders(overrides: Sequence[str]) -> list[Path]:
    """The folders with YAML: the project's, and those of the user."""
    extra = [
        text.partition("file://")[2].rstrip("']")
        for text in overrides
        if text.startswith("hydra.searchpath=")
    ]
    return [conf_folder(), *map(Path, extra)]


def refusal(error: Refused) -> Problem:
    """What to tell of a file that breaks a rule."""
    mark = error.problem_mark
    assert mark is not None
    where = Origin(mark.name, mark.line + 1, mark.column + 1)
    return Problem(str(error.problem), where, error.path, **error.parts)


def _in_defaults(text: str, option: str) -> Origin | str:
    """The line of the defaults list that names an option which is not there."""
    named = re.search(r"In '([^']+)'", text)
    for place in (
        re.findall(r"path=file://(.+)", text) if named else ()
    ):  # Hydra's message ends with its search path
        file = Path(place) / f"{named[1]}.yaml"  # type: ignore[index]
        for number, line in enumerate(_lines(file), 1):
            found = re.search(rf"(?<![\w.]){re.escape(option)}(?![\w.])", line)
            if found and not line.lstrip().startswith("#"):
                return Origin(str(file), number, found.start() + 1)
    return f"the defaults list of {named[1]}.yaml" if named else "the defaults list"


def _bad_key(
    name: str, culprit: str | None, others: list[str], text: str, config_name: str
) -> Problem:
    parent, _, last = name.replace("/", ".").rpartition(".")
    known: list[str] = []
    plain: Any = {}
    try:
        config: Any = hydra_compose(config_name, others)
        node = OmegaConf.select(config, parent) if parent else config
        known = [str(key) for key in node] if isinstance(node, DictConfig) else []
        plain = OmegaConf.to_container(config, resolve=False)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError):
        known = []
    where = on_command_line(culprit) if culprit else _in_chosen(others, last)
    group = "/" in name or "group" in text
    if (culprit or "").startswith("+") and last in known:
        return Problem(
            f"{name} is there already", where, fix=f"without the +: {(culprit or '').lstrip('+')}"
        )
    problem = f"no {'group' if group else 'key'} {last!r} in {parent or 'the configuration'}"
    if group or not culprit or culprit.startswith("~"):
        return Problem(problem, where, fits=did_you_mean(last, known))
    meant = explain_word(culprit, walk_keys(plain))
    new = f"to add a new key, write +{culprit}" if parent else None
    fits = None if meant else did_you_mean(last, known)
    return Problem(problem, where, fits=fits, fix="\n".join(filter(None, (meant, new))) or None)


def _origins(
    hydra: GlobalHydra,
    loader: Loader,
    defaults: Sequence[ResultDefault],
    overrides: Sequence[Override],
    config_name: str,
) -> tuple[dict[tuple[Any, ...], Origin], set[tuple[Any, ...]], list[Problem]]:
    """Where each value was written, the paths that were written more than once, and what is wrong
    with the files.
    """
    places = [element.path for element in hydra.config_loader().get_search_path().get_path()]
    extra: list[Any] = [
        each.value() for each in overrides if each.key_or_group == "hydra.searchpath"
    ]
    places += [place for value in extra for place in value]
    folders = [
        Path(place.removeprefix("file://"))
        for place in places
        if "://" not in place.removeprefix("file://")
    ]
    origins: dict[tuple[Any, ...], Origin] = {}
    replaced: set[tuple[Any, ...]] = set()
    problems: list[Problem] = []
    for default in defaults:
        file = next(
            (
                f / f"{default.config_path}.yaml"
                for f in folders
                if (f / f"{default.config_path}.yaml").is_file()
            ),
            None,
        )
        if (default.package or "").partition(".")[0] == "hydra" and not (
            default.config_path or ""
        ).startswith("hydra/"):
            problems.append(
                Problem(
                    OF_HYDRA, f"the defaults list of {default.parent}.yaml", default.package or ""
                )
            )
        if default.config_path is None or file is None or default.config_path.startswith("hydra/"):
            outside = not str(default.parent).startswith(("hydra/", "<root>", config_name))
            if outside and str(default.config_path).startswith("hydra/"):
                where = f"the defaults list of {default.parent}.yaml"
                problems.append(Problem(OF_HYDRA, where, str(default.config_path)))
            continue
        prefix = tuple(default.package.split(".")) if default.package else ()
        found, traps = loader.read(file)
        problems += traps
        if prefix:
            origins.setdefault(prefix, Origin(str(file), 1, 1))
        for path, origin, is_mapping in found:
            if len(path) == 1 and path[0] in WHY and not prefix and not default.primary:
                fix = f"{FIX[path[0]]} on the command line"
                problems.append(Problem(WHY[path[0]], origin, path[0], fix=fix))
            if path[0] != "defaults":
                _set(origins, (*prefix, *path), origin, replaced, keep_below=is_mapping)
    for override in overrides:
        path = tuple(override.key_or_group.split("."))
        if (
            (override.is_add() or override.is_force_add())
            and len(path) == 1
            and path not in origins
        ):
            known = [key[0] for key in origins if len(key) == 1] + [
                default.config_path.rpartition("/")[0]
                for default in defaults
                if default.config_path
            ]
            meant = explain_word(
                override.input_line or "", [".".join(map(str, key)) for key in origins]
            )
            problems.append(
                Problem(
                    f"this changes nothing: nothing reads {path[0]!r}",
                    on_command_line(override.input_line or ""),
                    fits=None if meant else did_you_mean(path[0], [name for name in known if name]),
                    fix=meant,
                )
            )
        _set_override(
            origins,
            path,
            override.value() if not override.is_delete() else None,
            Origin(text=on_command_line(override.input_line or "")),
            replaced,
        )
    return origins, replaced, problems


REMOVED_BY_NULL = ("inputs", "graph", "body", "in", "outputs", "tie")


def _remove_nulls(config: dict[str, Any], replaced: set[tuple[Any, ...]]) -> None:
    """Remove the inputs, nodes, outputs and ties of a model that a later file or the command line
    sets to null.
    """
    for *parents, name in replaced:
        if parents[:1] != ["model"] or parents[-1] not in REMOVED_BY_NULL:
            continue
        holder: Any = config
        for key in parents:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and holder.get(name, "") is None:
            del holder[name]


def _set(
    origins: dict[tuple[Any, ...], Origin],
    path: tuple[Any, ...],
    origin: Origin,
    replaced: set[tuple[Any, ...]],
    keep_below: bool,
) -> None:
    if path in origins:
        replaced.add(path)
    if not keep_below and path in origins:
        for longer in [key for key in origins if key[: len(path)] == path]:
            del origins[longer]
    origins[path] = origin


def _set_override(
    origins: dict[tuple[Any, ...], Origin],
    path: tuple[Any, ...],
    value: Any,
    origin: Origin,
    replaced: set[tuple[Any, ...]],
) -> None:
    _set(origins, path, origin, replaced, keep_below=isinstance(value, dict))
    if isinstance(value, dict):
        for key, item in value.items():
            _set_override(origins, (*path, str(key)), item, origin, replaced)


def _plain(
    config: DictConfig, origins: dict[tuple[Any, ...], Origin], problems: list[Problem]
) -> dict[str, Any]:
    """Plain dictionaries; an interpolation that leads nowhere is told."""
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", "") or "")
        where = origins.get(tuple(key.split(".")))
        what = (
            str(error)
            .splitlines()[0]
            .replace("KeyError raised while resolving interpolation: ", "")
            .strip('"')
        )
        fix = "${...} names a key from the top: ${seed}; a model's own params need no ${...}"
        problems.append(Problem(what, where, key, fix=fix))
        return {}
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
