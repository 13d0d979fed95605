"""What a YAML file may contain: checked on its syntax alone, before it is composed.

A configuration file may choose what is built and trained. What could run code, configure Hydra, or
exhaust the memory when it is read is refused here with its line. Everything that reads the
project's YAML goes through `check`.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from blocks.support.conf_folders import conf_folder
from blocks.support.files import open_file

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

BYTES = 1_000_000  # the largest file of `conf/` has 3,000
ENTRIES = (
    20_000  # keys and values, with every alias written out; the largest file of `conf/` has 300
)
# characters of what a file sweeps, which Hydra parses slowly; the longest of `conf/` has 200
WIDE = 10_000
DEPTH = 60  # mappings and lists inside each other; the deepest file of `conf/` has 12

PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")
}
TYPED = (
    "library",
    "trust",
    "limits",
)  # whose words only the command line may say: they let code run
SWEPT = ("hydra", "sweeper", "params")  # all that a file that is chosen may say of Hydra
NOT_SWEPT = re.compile(
    r"[+~]*(library|trust|limits|runs|hydra|callbacks|logger)([./@=]|$)|.*_target_$"
)
OF_LIBRARY = "blocks of your own are named on the command line, not in a file: their code runs"
OF_HYDRA = "a file that is chosen may not change how Hydra runs"
HYDRA = re.compile(r"(^|[/@.\s])hydra([/@.\s]|$)")
ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*([A-Za-z_]\w*)\s*(?:,([^${}]*))?\}")
REFERENCE = re.compile(r"\$\{([^${}:]*)\}")
MAY_NAME = "${...} may name another key, and no more"
FITS_NAME = "${seed}, or ${oc.env:NAME} in the section data"
HEADER = re.compile(r"^\s*#\s*@package\s+(\S+)", re.MULTILINE)


class Refused(yaml.MarkedYAMLError):
    """A file that is not read. Besides what and where: the key, what fits, what to change."""

    def __init__(
        self,
        problem: str,
        mark: Any,
        path: str = "",
        *,
        code: str = "refused-file",
        **parts: str | None,
    ):
        super().__init__(problem=problem, problem_mark=mark)
        self.path, self.code, self.parts = path, code, parts

    def __str__(self) -> str:
        mark: Any = self.problem_mark
        return (
            f"{mark.name}:{mark.line + 1}:{mark.column + 1}  {self.path}".rstrip()
            + f"\n  {self.problem}"
        )


def rules_the_program(file: Path) -> bool:
    """Whether a file is one of those that say how the program runs: `conf/train.yaml` and
    `conf/hydra/`.
    """
    file, ours = file.resolve(), conf_folder().resolve()
    return file == ours / "train.yaml" or (ours / "hydra") in file.parents


def check(file: Path, folder: Path | None = None) -> str:
    """The text of a YAML file that keeps the rules.

    Args:
        folder: where Hydra found it; a file under `hydra/` there would say how Hydra runs.

    Raises:
        Refused: with the line that breaks a rule.
        yaml.YAMLError: the file is no YAML.
    """
    start = yaml.Mark(str(file), 0, 0, 0, None, 0)
    try:
        with open_file(file) as opened:
            content, size = opened.read(BYTES + 1), os.fstat(opened.fileno()).st_size
    except OSError as error:
        raise Refused(
            "this file cannot be read", start, got=f"{error.strerror}", code="unreadable-file"
        ) from None
    if len(content) > BYTES:
        raise Refused(
            "the file is too large for a configuration",
            start,
            got=f"{size:,} bytes",
            fits=f"{BYTES:,}",
            code="too-large",
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(
            "the file is not text in UTF-8",
            start,
            got=str(error)[:100],
            fits="UTF-8",
            code="unreadable-file",
        ) from None
    check_limits(text, str(file))
    if not rules_the_program(file):
        within = (
            file.resolve().relative_to(folder.resolve())
            if folder and _below(file, folder)
            else Path(file.name)
        )
        package = HEADER.search(text[:512])
        if within.parts[0] in ("hydra", "hydra.yaml"):
            raise Refused(
                OF_HYDRA, start, "/".join(within.parts), fix="put it into the project's conf/hydra/"
            )
        if package and (HYDRA.search(package[1]) or "_name_" in package[1]):
            raise Refused(OF_HYDRA, start, f"@package {package[1]}", fix="name another package")
        if any(
            mark in text for mark in ("hydra", "_name_", "${", "\\")
        ):  # a word can hide behind escapes
            root = yaml.compose(_named(text, str(file)), Loader=LOADER)
            if isinstance(root, yaml.MappingNode):
                for problem in (*_of_hydra(root), *_interpolations(root)):
                    raise problem
    return text


def check_limits(text: str, name: str) -> None:
    """Raise Refused for what parses quickly and takes forever to build: aliases of aliases, deep
    nesting, tags.
    """
    if _is_flat(text):
        return
    limits = _Limits()
    for event in yaml.parse(_named(text, name), Loader=LOADER):
        limits.add(event)


class _Limits:
    """Counts the entries of a file with its aliases written out, event by event."""

    def __init__(self) -> None:
        self.sizes: dict[str, int | None] = {}  # anchor -> entries below it; None while it is open
        self.open: list[tuple[str | None, int]] = []
        self.total = 0

    def add(self, event: Any) -> None:
        """Count an event; raise Refused beyond a limit."""
        if isinstance(event, yaml.AliasEvent):
            self._add_alias(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open_collection(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self.open.pop()
            if anchor:
                self.sizes[anchor] = self.total - before + 1
        elif isinstance(event, yaml.ScalarEvent):
            self.total += 1
            if event.anchor:
                self.sizes[event.anchor] = 1
        tag = getattr(event, "tag", None)
        if tag and tag != "!" and tag not in PLAIN_TAGS:
            raise Refused(
                "a tag asks for more than plain values",
                event.start_mark,
                got=f"!{tag}"[:80],
                fix="leave the tag out",
            )
        if self.total > ENTRIES:
            raise Refused(
                "the file grows too large when it is read",
                event.start_mark,
                got=f"more than {ENTRIES:,} keys and values, aliases written out",
                fix="use fewer aliases",
                code="too-large",
            )

    def _add_alias(self, event: Any) -> None:
        size = self.sizes.get(str(event.anchor), 0)
        if size is None:
            raise Refused(
                "an alias stands inside what it stands for",
                event.start_mark,
                got=f"*{event.anchor}",
                fix="write it out",
                code="circular",
            )
        self.total += size

    def _open_collection(self, event: Any) -> None:
        self.total += 1
        self.open.append((event.anchor, self.total))
        if event.anchor:
            self.sizes[event.anchor] = None
        if len(self.open) > DEPTH:
            raise Refused(
                "the nesting is too deep",
                event.start_mark,
                got=f"more than {DEPTH} levels",
                fits=f"{DEPTH} at most",
                code="too-large",
            )


def _is_flat(text: str) -> bool:
    """Whether a look at the letters is enough: short, no anchor, no tag, too few brackets and
    dashes to nest deep.
    """
    if len(text) > ENTRIES or "&" in text or "!" in text:
        return False
    indent = max((len(line) - len(line.lstrip()) for line in text.splitlines()), default=0)
    return (
        text.count("[")
        + text.count("{")
        + len(re.findall(r"-\s", text))
        + text.count("? ")
        + indent
        < DEPTH
    )


def _named(text: str, name: str) -> Any:
    """A text with the name that marks shall bear."""
    return _Stream(text, name)


class _Stream:
    """What the parser reads from, with a name for its marks."""

    def __init__(self, text: str, name: str):
        self.data, self.name = text.encode(), name

    def read(self, size: int) -> bytes:
        piece, self.data = self.data[:size], self.data[size:]
        return piece


def _below(file: Path, folder: Path) -> bool:
    return folder.resolve() in file.resolve().parents


def _entries(node: yaml.MappingNode, seen: int = 0) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Keys and values, with what `<<` merges in."""
    for key, value in node.value:
        merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if key.value == "<<" and seen < DEPTH:
            for each in merged:
                if isinstance(each, yaml.MappingNode):
                    yield from _entries(each, seen + 1)
        else:
            yield key, value


def _of_hydra(root: yaml.MappingNode) -> Iterator[Refused]:
    """What a file that is chosen may not say: anything of Hydra itself but which values a sweep
    takes.
    """
    for key, value in _entries(root):
        if key.value == "defaults":
            yield from _defaults(value)
        elif isinstance(key.value, str) and key.value.partition(".")[0] == SWEPT[0]:
            yield from _swept(key, value, ())


def asks_for_more(text: str) -> bool:
    """Whether a text has a `${...}` that neither names another key nor reads a variable of the
    environment.
    """
    return "${" in REFERENCE.sub("", ENVIRONMENT.sub("", text))


def _interpolations(root: yaml.MappingNode) -> Iterator[Refused]:
    """What asks for more than another key: Hydra resolves some of them while it merges the
    files.
    """
    for path, scalar in _scalars(root):
        if asks_for_more(scalar.value):
            yield Refused(
                MAY_NAME, scalar.start_mark, ".".join(path), got=scalar.value[:70], fits=FITS_NAME
            )


def _scalars(
    node: yaml.Node, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], yaml.ScalarNode]]:
    """Every key and value below a node, and its path."""
    if isinstance(node, yaml.ScalarNode):
        yield path, node
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value)) if isinstance(key, yaml.ScalarNode) else path
            yield from _scalars(key, path)
            yield from _scalars(value, inner)
    else:
        for number, item in enumerate(node.value):
            yield from _scalars(item, (*path, str(number)))


def _defaults(node: yaml.Node) -> Iterator[Refused]:
    """Entries of a defaults list that reach into `hydra`, or that Hydra would have to resolve to
    read a file.
    """
    for _, word in _scalars(node):
        if "${" in word.value:
            text, fix = (
                "a defaults list names files by their own names, without ${...}",
                "choose on the command line",
            )
            yield Refused(text, word.start_mark, "defaults", got=word.value[:70], fix=fix)
    for item in node.value if isinstance(node, yaml.SequenceNode) else ():
        names = [key for key, _ in _entries(item)] if isinstance(item, yaml.MappingNode) else [item]
        for name in names:
            if isinstance(name.value, str) and (HYDRA.search(name.value) or "_name_" in name.value):
                yield Refused(
                    OF_HYDRA,
                    name.start_mark,
                    "defaults",
                    got=name.value[:80],
                    fix="set it on the command line",
                )


def _swept(key: yaml.Node, value: yaml.Node, above: tuple[str, ...]) -> Iterator[Refused]:
    path = (*above, str(key.value))
    shown, fits = ".".join(path), f"{'.'.join(SWEPT)}: {{data.lag: '5,20'}}"
    if len(path) <= len(SWEPT):
        if path != SWEPT[: len(path)] or not isinstance(value, yaml.MappingNode):
            yield Refused(
                OF_HYDRA, key.start_mark, shown, fits=fits, fix="set it on the command line"
            )
            return
        if path == SWEPT and (size := value.end_mark.index - value.start_mark.index) > WIDE:
            yield Refused(
                "a sweep is too long",
                key.start_mark,
                shown,
                got=f"{size:,} characters",
                fits=f"{WIDE:,}",
                code="too-large",
            )
            return
        for inner, item in _entries(value):
            yield from _swept(inner, item, path)
    elif (
        NOT_SWEPT.match(path[-1])
        or not isinstance(value, yaml.ScalarNode)
        or re.search(r"[{$]", value.value)
        # a shared model, which the command line alone may name: a folder, or one of the Hub
        or (path[-1].lstrip("+") == "model" and re.search(r"[/:\\]", value.value))
    ):
        if re.match(r"[+~]*library([./@=]|$)", path[-1]):
            yield Refused(
                OF_LIBRARY, key.start_mark, shown, fix=f"{path[-1]}=... on the command line"
            )
        text = (
            "a file that is chosen may sweep numbers and words of the model, data, task, "
            "optimizer and trainer"
        )
        yield Refused(text, key.start_mark, shown, fits=fits, fix="set it on the command line")
