"""Numbers that fit in the place of one that does not: the nearest that divide, or are divided.

A message names the numbers that do not go together (`heads=7, dim=192`), and where each is written.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from blocks.studio.text.edits import EditError, find_key, read_root, replace_value

Entry = Mapping[str, Any]
SEARCHED = 10_000  # numbers on each side of the wrong one
NEAREST = 4  # that are proposed for one
DIVIDED = re.compile(r"\b(?:divide|divisible|tile|multiple)\b")
MULTIPLE = re.compile(r"(\w+) must be a multiple of (\d+)")
GIVEN = re.compile(r"(\w[\w ]*)(?:=|': )(-?\d+)(?![\d.])")  # "heads=7", "{'p': 2}" of einops
FITS = re.compile(r"(\w+)(?:=| in )(?=-?\d)")
RANGE = re.compile(r"(-?\d+)(?:\.\.| to )(-?\d+)")
NUMBER = re.compile(r"-?\d+")
WRITTEN = re.compile(r"\s*\w+(?:=.*?)?  (\S+):(\d+):(\d+)")


@dataclass(frozen=True)
class Proposal:
    """An edit that may mend a mistake.

    Args:
        name: of the number that it changes; "" for another edit.
        label: what it does.
        text: after it.
    """

    name: str
    label: str
    text: str


@dataclass(frozen=True)
class Literal:
    """A whole number that is written in a text.

    Args:
        key: the key that it is the value of, or is in the list of.
        value: the number.
    """

    key: yaml.Node
    value: yaml.Node

    @property
    def place(self) -> tuple[int, int]:
        """Line and column of the key, from 1."""
        mark = self.key.start_mark
        return mark.line + 1, mark.column + 1


def propose_numbers(
    text: str,
    entry: Entry,
    before: Mapping[str, Any],
    set_argument: Callable[[str, str], str],
) -> Iterator[Proposal]:
    """Yield numbers that would fit.

    Args:
        text: of the file that `entry` names.
        before: the arguments of the node in the last model without a mistake.
        set_argument: returns the text with an argument of the node; raises EditError.
    """
    given = {name: int(number) for name, number in GIVEN.findall(entry["got"] or "")}
    fitting = dict(_list_fitting(entry, given))
    literals = {name: find_literal(text, entry, name, given[name]) for name in fitting}
    for name in _order(given, literals, before):
        literal = literals[name]
        for number in fitting[name][:NEAREST]:
            if literal is not None:
                after = replace_value(text, literal.value, str(number))
                yield Proposal(name, f"{literal.key.value}: {number}", after)
                continue
            try:
                after = set_argument(name, str(number))
            except EditError:
                break
            yield Proposal(name, f"{name}: {number}", after)


def _order(
    given: Mapping[str, int], literals: Mapping[str, Literal | None], before: Mapping[str, Any]
) -> list[str]:
    """Return the names whose numbers to change: the first, where it was changed last; else those
    that were changed, then those that are written in the text.
    """
    names = list(literals)
    changed = [name for name in names if before.get(name) != given[name]]
    if names and names[0] in changed and literals[names[0]] is not None:
        return names[:1]
    return sorted(names, key=lambda name: (literals[name] is None, name not in changed))


# Which numbers fit --------------------------------------------------------------------------------


def _list_fitting(entry: Entry, given: Mapping[str, int]) -> Iterator[tuple[str, list[int]]]:
    """Yield the names of numbers that may be wrong, each with those that would fit."""
    is_divided = DIVIDED.search(entry["problem"]) is not None
    multiple = MULTIPLE.search(entry["problem"])
    if multiple is not None and multiple[1] in given:
        yield multiple[1], list_multiples(given[multiple[1]], int(multiple[2]))
    elif is_divided and len(given) == 2:
        (name, part), (of, whole) = given.items()
        yield name, list_divisors(part, whole)
        yield of, list_multiples(whole, part)
    elif DIVIDED.search(f"{entry['problem']} {entry['got']}") or entry["code"] == "block-failed":
        sizes = {int(number) for number in NUMBER.findall(entry["got"] or "")}
        for name, number in given.items():
            found = {each for size in sizes for each in list_divisors(number, size)}
            yield name, sort_near(number, found - {1})
    else:
        for name, number in given.items():
            yield name, sort_near(number, read_fitting(entry["fits"] or "", name, number))


def list_divisors(part: int, whole: int) -> list[int]:
    """Return the divisors of a whole below and above a number, two of each, the nearest first."""
    below = range(min(part - 1, whole), max(0, part - SEARCHED), -1)
    above = range(max(part + 1, 1), min(whole, part + SEARCHED) + 1)
    found = []
    for side in (below, above):
        found += [each for each in side if whole % each == 0][:2]
    return sort_near(part, found)


def list_multiples(whole: int, part: int) -> list[int]:
    """Return the multiples of a part below and above a number, the nearest first."""
    if part < 1:
        return []
    below = whole // part * part
    return sort_near(whole, [each for each in (below, below + part) if each > 0])


def sort_near(number: int, found: Iterable[int]) -> list[int]:
    """Return other numbers, the nearest first."""
    others = {each for each in found if each != number}
    return sorted(others, key=lambda each: (abs(each - number), each))


def read_fitting(fits: str, name: str, number: int) -> list[int]:
    """Return the numbers that a message offers for a name: all, or the near end of a range."""
    for found in FITS.finditer(fits):
        if found[1] != name:
            continue
        rest = fits[found.end() :]
        ends = RANGE.match(rest)
        if ends is not None:
            return [min(max(number, int(ends[1])), int(ends[2]))]
        return [int(each) for each in NUMBER.findall(rest)]
    return []


# Where a number is written ------------------------------------------------------------------------


def find_literal(text: str, entry: Entry, name: str, number: int) -> Literal | None:
    """Return where a text has a number that a mistake names; None where it has none.

    It stands where the message says, or is the param of this name, or the only key of this name
    with this number.
    """
    root = read_root(text)
    literals = [each for each in _walk(root) if each.value.value == str(number)]
    places = _places_of(entry, name)
    for each in literals:
        if each.place in places:
            return each
    params = find_key(root, "params")
    for each in _walk(params[1]) if params is not None else ():
        if each.key.value == name and each.value.value == str(number):
            return each
    named = [each for each in literals if each.key.value == name]
    return named[0] if len(named) == 1 else None


def find_number(text: str, entry: Entry) -> tuple[int, int] | None:
    """Return where the key and the first number begin and end that do not fit; None where the
    message names no number of the text, or all arguments of a block that failed.
    """
    if entry["code"] == "block-failed":
        return None
    try:
        for name, number in GIVEN.findall(entry["got"] or ""):
            found = find_literal(text, entry, name, int(number))
            if found is not None and isinstance(found.value, yaml.ScalarNode):
                return found.key.start_mark.index, found.value.end_mark.index
    except EditError:
        pass
    return None


def _walk(root: yaml.Node) -> Iterator[Literal]:
    """Yield each scalar of a text that a key has, or its list."""
    stack: list[tuple[yaml.Node | None, yaml.Node]] = [(None, root)]
    seen = set()
    while stack:
        key, node = stack.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            stack += reversed(node.value)
        elif isinstance(node, yaml.SequenceNode):
            stack += [(key, each) for each in reversed(node.value)]
        elif key is not None:
            yield Literal(key, node)


def _places_of(entry: Entry, name: str) -> set[tuple[int, int]]:
    """Return the places where a message says that an argument comes from, in the file at hand."""
    found, current = set(), ""
    for line in (entry["from"] or "").splitlines():
        written = WRITTEN.match(line)
        if not line.startswith(" "):
            current = line.partition(" ")[0]
        if written is not None and current == name and written[1] == entry["file"]:
            found.add((int(written[2]), int(written[3])))
    return found
