"""Problems for the exceptions of Hydra, OmegaConf and the YAML parser."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from blocks.graph.compose.keys import explain_option, explain_word, find_owners, walk_keys
from blocks.graph.compose.overrides import on_command_line
from blocks.graph.errors import Origin, Problem, did_you_mean, find_look_alike
from blocks.graph.read.loader import SEARCH_PATH, parse_override
from blocks.support.conf_folders import conf_folders
from blocks.support.files import read_file
from blocks.support.yaml_rules import Refused

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
COMPOSED = "the composed configuration"
MAX_OWNERS = 20  # options in a message


def explain_error(
    error: Exception, overrides: list[str], config_name: str
) -> tuple[Problem, str | None]:
    """Return a problem for an exception, and the override that caused it, if one did."""
    if isinstance(error.__cause__, Refused):
        return explain_refusal(error.__cause__), None
    if isinstance(error, RecursionError):
        fix = "a file must not name itself in its defaults list, nor a value refer to itself"
        return Problem(
            "the configuration refers to itself without end", COMPOSED, fix=fix, code="circular"
        ), None
    if isinstance(error, yaml.YAMLError):
        return _explain_yaml(error), None
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _explain_missing_file(error, overrides, config_name)
    text = str(error)
    key = re.search(r"Could not[^']*'([^']+)'", text)
    if key:
        name = key[1].partition("@")[0]
        culprit = _find_override(overrides, name)
        others = [override for override in overrides if override != culprit]
        return _explain_key(name, culprit, others, text, config_name), culprit
    culprit = _find_bad_choice(overrides)
    if "Config group override" in text and culprit is not None:
        return Problem(
            "a group is chosen by a name",
            on_command_line(culprit),
            got=text.rpartition("Got ")[2],
            fix="the name of one of its files, or a value by its path: group.key=value",
            code="bad-override",
        ), culprit
    text = text or str(error.__cause__ or type(error).__name__)
    named = re.search(r"[iI]n '([^']+)'", text)
    where = f"{named[1]}.yaml" if named else COMPOSED
    fix = "look at the defaults list and at ${...}"
    return Problem(text.splitlines()[0][:100], where, fix=fix, code="bad-reference"), None


def explain_refusal(error: Refused) -> Problem:
    """Return the problem of a file that breaks a rule."""
    mark = error.problem_mark
    assert mark is not None
    where = Origin(mark.name, mark.line + 1, mark.column + 1)
    return Problem(str(error.problem), where, error.path, **error.parts, code=error.code)


def explain_interpolation(
    error: OmegaConfBaseException, origins: Mapping[tuple[Any, ...], Origin]
) -> Problem:
    """Return the problem of a `${...}` that cannot be resolved."""
    key = str(getattr(error, "full_key", "") or "")
    text = str(error).splitlines()[0]
    text = text.replace("KeyError raised while resolving interpolation: ", "").strip('"')
    fix = "${...} names a key from the top: ${seed}; a model's own params need no ${...}"
    return Problem(text, origins.get(tuple(key.split("."))), key, fix=fix, code="bad-reference")


def _explain_yaml(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        return Problem(f"not YAML: {str(error).splitlines()[0]}", code="invalid-yaml")
    if error.context_mark is not None and find_look_alike(_line_at(error.context_mark) or ""):
        mark = error.context_mark
    fix = "look at brackets, quotes and indentation here and above"
    for sign, known in YAML_FIXES.items():
        if sign in str(error.problem):
            fix = known
            break
    code = "invalid-yaml"
    if "duplicate key" in str(error.problem):
        code = "duplicate-key"
    where = Origin(mark.name, mark.line + 1, mark.column + 1)
    return Problem(f"not YAML: {error.problem}", where, got=_line_at(mark), fix=fix, code=code)


def _explain_missing_file(
    error: MissingConfigException, overrides: list[str], config_name: str
) -> tuple[Problem, str | None]:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    culprit = None
    for override in overrides:
        if _strip_marks(override).split("@")[0] == f"{group}={option}":
            culprit = override
            break
    where: Origin | str | None = None
    if culprit:
        where = on_command_line(culprit)
    else:
        where = _find_in_chosen(overrides, option) or _find_in_defaults(str(error), option)
    fits = f"a file {group}/{option}.yaml, or a list of {{folder: file}}"
    if error.options:
        fits = did_you_mean(option, error.options)
    fix = explain_option(group, option)
    if "${" in (culprit or ""):
        fix = "let the shell put it in: $NAME"
    problem = f"{group or config_name} has no option {option!r}"
    return Problem(
        problem, where, got=f"{group}={option}", fits=fits, fix=fix, code="unknown-option"
    ), culprit


def _explain_key(
    name: str, culprit: str | None, others: list[str], text: str, config_name: str
) -> Problem:
    """Return the problem of an override whose key does not exist, or exists already."""
    parent, _, last = name.replace("/", ".").rpartition(".")
    known, plain, chosen = _read_known_keys(parent, others, config_name)
    node = None if known else _find_misspelt_node(parent, others, config_name)
    if node is not None:
        parent, last = node
        known, plain, chosen = _read_known_keys(parent, others, config_name)
    where: Origin | str | None = None
    if culprit:
        where = on_command_line(culprit)
    else:
        where = _find_in_chosen(others, last)
    if culprit and culprit.startswith("+") and last in known:
        fix = f"without the +: {culprit.lstrip('+')}"
        return Problem(f"{name} is there already", where, fix=fix, code="name-taken")
    if culprit and last in known and not culprit.startswith("~"):
        return Problem(
            f"{name} has not all of these keys",
            where,
            fix=f"to add keys to it, write +{culprit}",
            code="unknown-key",
        )
    is_group = "/" in name or "group" in text
    kind = "group" if is_group else "key"
    problem = f"no {kind} {last!r} in {parent or 'the configuration'}"
    if is_group or not name.endswith(last) or not culprit or culprit.startswith("~"):
        return Problem(problem, where, fits=did_you_mean(last, known), code="unknown-key")
    group, *keys = name.split(".")
    meant = explain_word(culprit, walk_keys(plain))
    if not (meant or "").startswith(f"write {group}."):
        owners = find_owners(group, keys)
        if owners:
            return _explain_owners(culprit, where, f"{group}={chosen.get(group)}", owners)
    fixes = []
    fits = None
    if meant:
        fixes.append(meant)
    else:
        fits = did_you_mean(last, known)
    if parent:
        fixes.append(f"to add a new key, write +{culprit}")
    return Problem(problem, where, fits=fits, fix="\n".join(fixes) or None, code="unknown-key")


def _find_misspelt_node(parent: str, others: list[str], config_name: str) -> tuple[str, str] | None:
    """Return the body and the name of a node that is not there, where one is said to have a key."""
    found = None
    while parent.startswith("model.graph."):
        above, _, node = parent.rpartition(".")
        if node not in _read_known_keys(above, others, config_name)[0]:
            found = above, node
        parent = above
    return found


def _explain_owners(
    culprit: str, where: Origin | str | None, chosen: str, owners: Sequence[str]
) -> Problem:
    """Return the problem of an override whose key other options of its section have."""
    name = culprit.partition("=")[0]
    group, _, key = name.partition(".")
    shown = ", ".join(owners[:MAX_OWNERS])
    fits = f"{group}={shown}"
    if len(owners) > MAX_OWNERS:
        fits += f" and {len(owners) - MAX_OWNERS} more"
    fix = f"choose {group}=... of those that have it, or leave {name} out\n"
    fix += f"to add a new key, write +{culprit}"
    return Problem(f"{chosen} has no key {key!r}", where, fits=fits, fix=fix, code="unknown-key")


def _read_known_keys(
    parent: str, overrides: list[str], config_name: str
) -> tuple[list[str], dict[str, Any], dict[str, str]]:
    """Return the keys of a section, the configuration, and the options chosen of each section,
    without the override that failed.
    """
    try:
        config: Any = hydra_compose(config_name, overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError):  # others fail as well
        searched = [text for text in overrides if text.startswith(f"{SEARCH_PATH}=")]
        if len(searched) == len(overrides):
            return [], {}, {}
        return _read_known_keys(parent, searched, config_name)
    try:
        plain: Any = OmegaConf.to_container(config, resolve=False)
        chosen = plain.pop("hydra")["runtime"]["choices"]
        section = OmegaConf.select(config, parent) if parent else plain
    except OmegaConfBaseException:
        return [], {}, {}
    if not isinstance(section, Mapping | DictConfig):
        return [], plain, chosen
    return list(map(str, section)), plain, chosen


def _strip_marks(override: str) -> str:
    return re.sub(r"^[+~]*", "", override)


def _find_override(overrides: Sequence[str], name: str) -> str | None:
    """Return the override of a key."""
    for override in overrides:
        if _strip_marks(override).split("=")[0].split("@")[0] == name:
            return override
    return None


def _find_bad_choice(overrides: Sequence[str]) -> str | None:
    """Return the override that chooses a file of a group by a value that is no name."""
    folders = _list_folders(overrides)
    for override in overrides:
        group = override.lstrip("+~").partition("=")[0]
        is_group = "." not in group and any((folder / group).is_dir() for folder in folders)
        if is_group and not isinstance(parse_override(override).value(), str | list | dict):
            return override
    return None


def _list_folders(overrides: Sequence[str]) -> list[Path]:
    """Return the folders with YAML: the project's, and those of the user."""
    folders = conf_folders()
    for override in overrides:
        if override.startswith(f"{SEARCH_PATH}="):
            folders.append(Path(override.partition("file://")[2].rstrip("']")))
    return folders


def _find_in_chosen(overrides: list[str], word: str) -> Origin | None:
    """Return the line of a chosen file that names `word` in its defaults list."""
    for override in overrides:
        group, _, option = override.lstrip("+~").partition("=")
        for folder in _list_folders(overrides):
            file = folder / group / f"{option}.yaml"
            for origin, line in _find_word(file, rf"\b{re.escape(word)}\b"):
                if "override" in line:
                    return origin
    return None


def _find_in_defaults(text: str, option: str) -> Origin | str:
    """Return the line of the defaults list that names a missing option."""
    named = re.search(r"In '([^']+)'", text)
    if not named:
        return "the defaults list"
    for folder in re.findall(r"path=file://(.+)", text):  # the message ends with the search path
        file = Path(folder) / f"{named[1]}.yaml"
        for origin, line in _find_word(file, rf"(?<![\w.]){re.escape(option)}(?![\w.])"):
            if not line.lstrip().startswith("#"):
                return origin
    return f"the defaults list of {named[1]}.yaml"


def _find_word(file: Path, pattern: str) -> Iterator[tuple[Origin, str]]:
    """Yield (origin, line) for each line of a file that contains a pattern."""
    for number, line in enumerate(_read_lines(file), 1):
        found = re.search(pattern, line)
        if found:
            yield Origin(str(file), number, found.start() + 1), line


def _line_at(mark: yaml.Mark) -> str | None:
    """Return the line of the file at a mark."""
    lines = _read_lines(Path(mark.name))
    if not lines:
        return None
    if mark.line >= len(lines):
        return "the end of the file"
    return " ".join(lines[mark.line].split())[:80]


def _read_lines(file: Path) -> list[str]:
    """Return the lines of a file, none where it cannot be read."""
    try:
        return read_file(file).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
