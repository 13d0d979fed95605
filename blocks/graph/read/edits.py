"""Files whose numbers and words alone changed: what was composed of them is changed in place.

Of two files that write one value Hydra takes the later, whatever the value is. So a composition
changes where the last file that writes a value changed it, and nowhere else.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

KeyPath = tuple[Any, ...]
Edits = dict[KeyPath, Any]  # path -> value
SCALARS = (int, float, bool)
PLAIN = re.compile(r"[\w.+-]*", re.ASCII)  # a word that all parsers of YAML read alike
NESTED = re.compile(r"\$\{[^}]*\$\{")


def find_edits(before: Any, after: Any) -> Edits | None:
    """Return the values that differ between two contents of a file; None where more differs.

    A missing value, null and an interpolation say how files are merged, so they are no edits.
    """
    edits: Edits = {}
    waiting: list[tuple[KeyPath, Any, Any]] = [((), before, after)]
    while waiting:
        path, old, new = waiting.pop()
        if isinstance(old, dict) and isinstance(new, dict):
            if list(old) != list(new):
                return None
            waiting += [((*path, key), value, new[key]) for key, value in old.items()]
        elif _is_scalar(old) and _is_scalar(new):
            if type(old) is not type(new) or old != new:
                edits[path] = new
        elif repr(old) != repr(new):  # 1, 1.0 and True are equal
            return None
    return edits


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return type(value) in SCALARS


def is_plain(value: Any) -> bool:
    """Return whether a value is a number, or a word without signs of YAML."""
    return PLAIN.fullmatch(str(value)) is not None


@lru_cache(maxsize=1)
def make_quick_loader() -> Any:
    """Return OmegaConf's loader of YAML, with the parser written in C where there is one."""
    loader = get_yaml_loader()
    if not yaml.__with_libyaml__:
        return loader
    parser: Any = vars(yaml.cyaml)["CParser"]

    class QuickLoader(parser, loader):  # type: ignore[misc]
        def __init__(self, stream: Any):
            parser.__init__(self, stream)
            yaml.constructor.SafeConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)

    return QuickLoader


def _writes(content: Any, path: KeyPath) -> bool:
    """Return whether a file writes a value, or something in place of a section around it."""
    for key in path:
        if not isinstance(content, Mapping):
            return True
        if key not in content:
            return False
        content = content[key]
    return True


def is_last(edits: Edits, later: Iterable[Any]) -> bool:
    """Return whether a file is the last one to write the values that changed in it.

    Args:
        later: contents of the files that are merged after it.
    """
    others = list(later)
    return not any(_writes(content, path) for content in others for path in edits)


def move(edits: Edits, package: str | None) -> Edits:
    """Return the edits of a file in the section that it is merged into."""
    sections = tuple(filter(None, (package or "").split(".")))
    return {(*sections, *path): value for path, value in edits.items()}


def apply_edits(config: Any, edits: Edits) -> None:
    """Change values of a composition, or of the content of a file."""
    for (*sections, name), value in edits.items():
        section: Any = config
        for key in sections:
            section = section[key]
        section[name] = value


def read_content(config: Any) -> Any:
    """Return the content of a file as plain dictionaries, interpolations as written."""
    return OmegaConf.to_container(config, resolve=False)


def follows_values(content: Any) -> bool:
    """Return whether an interpolation is named by the value of another, as in `${a.${b}}`."""
    return NESTED.search(str(content)) is not None
