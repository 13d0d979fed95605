"""Edits of the graph in the text of a model file: nodes come, go, are replaced, joined and folded.

A node is named by its path in the model, `layers.0.attention`, as the graph on the page has it.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import yaml

from blocks.studio.text.edits import (
    EditError,
    add_key,
    end_of,
    find_key,
    insert_section,
    line_end,
    read_root,
    remove_pair,
)

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
KEPT = ("in", "repeat", "as", "when", "after", "expect")  # keys of a node that is replaced
REFERRING = ("in", "after")
NO_EXPRESSION = ("block", "use", "in", "after", "share", "outputs")
FIRST = "x"  # what the first input of a body is called


@dataclass(frozen=True)
class Place:
    """A node in the text.

    Args:
        owner: the mapping that has the graph, and its `outputs`.
        holder: the graph: its nodes by name.
        index: of the node in it.
        first: what the first node of the graph reads.
    """

    owner: yaml.MappingNode
    holder: yaml.MappingNode
    index: int
    first: str

    @property
    def name(self) -> str:
        """The name of the node."""
        return str(self.holder.value[self.index][0].value)

    @property
    def value(self) -> yaml.Node:
        """What is written for the node."""
        return self.holder.value[self.index][1]

    @property
    def names(self) -> list[str]:
        """The names of the graph."""
        return [str(key.value) for key, _ in self.holder.value]

    @property
    def later(self) -> list[yaml.Node]:
        """The nodes behind it."""
        return [value for _, value in self.holder.value[self.index + 1 :]]


def find_place(text: str, path: str) -> Place:
    """Return where a node is written; raises EditError where that is another file."""
    root = owner = read_root(text)
    graph = find_key(root, "graph")
    inputs = find_key(root, "inputs")
    first = "image"
    if inputs is not None and isinstance(inputs[1], yaml.MappingNode) and inputs[1].value:
        first = str(inputs[1].value[0][0].value)
    names = [name for name in path.split(".") if not name.isdigit()]
    for number, name in enumerate(names):
        holder = None if graph is None else graph[1]
        index = _index_of(holder, name)
        if index is None or not isinstance(holder, yaml.MappingNode):
            break
        if number + 1 == len(names):
            return Place(owner, holder, index, first)
        inner = holder.value[index][1]
        graph = find_key(inner, "body")
        if isinstance(inner, yaml.MappingNode):
            owner, first = inner, FIRST
    raise EditError(f"{path} is not written as a node of this file")


def _index_of(holder: yaml.Node | None, name: str) -> int | None:
    if isinstance(holder, yaml.MappingNode):
        for index, (key, _) in enumerate(holder.value):
            if key.value == name:
                return index
    return None


# One node -----------------------------------------------------------------------------------------


def insert_after(text: str, path: str, node: str, name: str) -> str:
    """Insert a node behind another: what read the other reads the new one, but for what reads
    an output of the other by its name.

    Args:
        node: as YAML on one line, "{block: GELU}".
        name: that it should have; a number is added where it is taken.
    """
    place = find_place(text, path)
    name = _free_name(place, name)
    changes = [each for each in _refer_later(place, name) if "." not in each[0].value]
    return _insert(_apply(text, changes), find_again(place), place.index + 1, name, node)


def insert_before(text: str, path: str, node: str, name: str, source: str = "") -> str:
    """Insert a node on the edge that leads into another.

    Args:
        source: the node that the edge begins with, where the other reads several.
    """
    place = find_place(text, path)
    name = _free_name(place, name)
    written = find_key(place.value, "in")
    if written is None:
        return _insert(text, find_again(place), place.index, name, node)
    read = [each for each in _scalars(written[1]) if _base(each.value) == source]
    read = read or list(_scalars(written[1]))[:1]
    if not read:
        raise EditError(f"{path} reads nothing")
    reads = text[read[0].start_mark.index : read[0].end_mark.index]
    changed = _apply(text, [(read[0], name)])
    return _insert(changed, find_again(place), place.index, name, _with_input(node, reads))


def delete(text: str, path: str) -> str:
    """Delete a node: what read it reads its input."""
    place = find_place(text, path)
    if len(place.holder.value) == 1:
        raise EditError(f"{path} is the only node of its graph")
    reads = _input_of(text, place)
    changes = _refer_later(place, reads)
    after = place.later[0] if place.later else None
    is_implied = reads == (place.names[place.index - 1] if place.index else place.first)
    changed = _apply(text, changes)
    if after is not None and not is_implied and find_key(after, "in") is None:
        following = find_place(changed, _sibling(path, place.names[place.index + 1]))
        if isinstance(following.value, yaml.MappingNode):
            changed = add_key(changed, following.value, "in", reads)
    found = find_place(changed, path)
    return remove_pair(changed, found.holder, found.index)


def replace(text: str, path: str, node: str) -> str:
    """Replace a node; it keeps its name, its input and how often it is repeated."""
    place = find_place(text, path)
    start, end = _span(text, place.value)
    kept = ""
    for word in KEPT:
        found = find_key(place.value, word)
        if (
            found is not None
            and "\n" not in text[found[1].start_mark.index : end_of(text, found[1])]
        ):
            written = text[found[1].start_mark.index : end_of(text, found[1])]
            kept += f", {word}: {written}"
    line = text.rfind("\n", 0, start)
    if text[line:start].strip():  # behind its key
        return text[:start] + f"{node[:-1]}{kept}}}" + text[end:]
    key = place.holder.value[place.index][0].end_mark.index
    return f"{text[:key]}: {node[:-1]}{kept}}}{text[end:]}"


def duplicate(text: str, path: str) -> str:
    """Put a second node of the same kind behind a node."""
    place = find_place(text, path)
    start, end = _span(text, place.value)
    node = text[start:end]
    own = find_key(place.value, "in")
    if own is not None and isinstance(place.value, yaml.MappingNode):
        index = _index_of(place.value, "in")
        assert index is not None
        shorter = remove_pair(text, place.value, index)
        node = shorter[start : end - (len(text) - len(shorter))]
    lead = text[place.holder.value[place.index][0].end_mark.index : start]
    if "\n" in lead:
        node = lead.lstrip(": ") + node
    return insert_after(text, path, node, place.name)


def connect(text: str, source: str, target: str, block: str) -> str:
    """Draw a skip connection: a node joins what another reads with the output of an earlier one.

    Args:
        block: that joins, with its arguments: "Add" or "Concat, axis: 1".
    """
    early, late = find_place(text, source), find_place(text, target)
    if early.holder.start_mark.index != late.holder.start_mark.index:
        raise EditError("the two nodes stand in different graphs")
    if early.index >= late.index:
        early, late, source, target = late, early, target, source
    if early.index == late.index:
        raise EditError("a skip connection leads from one node to another")
    written = find_key(late.value, "in")
    if written is not None and isinstance(written[1], yaml.MappingNode):
        raise EditError(f"{target} has several inputs with names: write it in the text")
    if written is not None and isinstance(written[1], yaml.SequenceNode):
        return _apply(text, [(written[1].value[-1], f"{written[1].value[-1].value}, {early.name}")])
    reads = _input_of(text, late)
    if reads == early.name:
        raise EditError(f"{target} reads {early.name} already")
    node = f"{{block: {block}, in: [{reads}, {early.name}]}}"
    name = _free_name(late, block.partition(",")[0].lower())
    changed = text if written is None else _apply(text, [(written[1], name)])
    return _insert(changed, find_again(late), late.index, name, node)


def fold(text: str, paths: Sequence[str], name: str) -> str:
    """Fold nodes, and all between them, into a template of the file, and use it in their place.

    Args:
        paths: of nodes in one graph.
        name: of the template, and of the node that uses it.
    """
    places = sorted((find_place(text, path) for path in paths), key=lambda place: place.index)
    first, last = places[0], places[-1]
    starts = {place.holder.start_mark.index for place in places}
    if len(starts) > 1 or first.holder.flow_style:
        raise EditError("choose nodes of one graph that stand below each other")
    between = range(first.index, last.index + 1)
    places = [dataclasses.replace(first, index=index) for index in between]
    root = read_root(text)
    taken = [str(key.value) for key, _ in root.value] + first.names
    if not NAME.fullmatch(name) or name in taken:
        raise EditError(f"{name[:40]!r} is no free name")
    inside = first.names[first.index : last.index + 1]
    reads = _input_of(text, first)
    body = _body_of(text, places, inside, reads)
    start = text.rfind("\n", 0, first.holder.value[first.index][0].start_mark.index) + 1
    end = end_of(text, last.value)
    key = first.holder.value[first.index][0]
    own = "" if find_key(first.value, "in") is None else f", in: {reads}"
    changes = _refer_later(last, name)
    for each in last.later:
        if any(_base(scalar.value) in inside[:-1] for scalar in _references(each)):
            raise EditError("a node behind them reads one inside: fold the nodes up to it")
    tail = _apply(text, changes)[end:]
    line = f"{' ' * key.start_mark.column}{name}: {{use: {name}{own}}}"
    folded = text[:start] + line + tail
    return insert_section(folded, read_root(folded), f"{name}:\n  body:\n{body}")


def _body_of(text: str, places: Sequence[Place], inside: Sequence[str], reads: str) -> str:
    """Return the lines of a template: it reads x, and the params of the model by `params.`."""
    root = read_root(text)
    params = find_key(root, "params")
    known = []
    if params is not None and isinstance(params[1], yaml.MappingNode):
        known = [str(key.value) for key, _ in params[1].value]
    lines = []
    for place in places:
        changes = []
        for scalar in _references(place.value):
            base = _base(scalar.value)
            if base == reads:
                changes.append((scalar, FIRST))
            elif base not in inside:
                raise EditError(f"{place.name} reads {base}, which is not among them")
        for scalar in _expressions(place.value):
            written = re.sub(r"(?<![\w.])([A-Za-z_]\w*)(?!\w)", _prefix(known), scalar.value)
            if written != scalar.value:
                changes.append((scalar, written))
        start = text.rfind("\n", 0, place.holder.value[place.index][0].start_mark.index) + 1
        end = end_of(text, place.value)
        changed = _apply(text, changes)
        part = changed[start : end + len(changed) - len(text)]
        indent = " " * place.holder.value[place.index][0].start_mark.column
        lines += [f"    {line.removeprefix(indent)}" for line in part.split("\n")]
    return "\n".join(lines)


def _prefix(known: Sequence[str]) -> Callable[[re.Match[str]], str]:
    return lambda found: f"params.{found[0]}" if found[0] in known else found[0]


# Pieces -------------------------------------------------------------------------------------------


def find_again(place: Place) -> Callable[[str], Place]:
    """Return what finds a graph again in a text whose nodes stand in the same order."""
    line, column = place.holder.start_mark.line, place.holder.start_mark.column

    def find(text: str) -> Place:
        stack: list[yaml.Node] = [read_root(text)]
        while stack:
            node = stack.pop()
            if isinstance(node, yaml.MappingNode):
                mark = node.start_mark
                if (mark.line, mark.column) == (line, column) and len(node.value) > place.index:
                    return Place(place.owner, node, place.index, place.first)
                stack += [value for _, value in node.value]
            elif isinstance(node, yaml.SequenceNode):
                stack += node.value
        raise EditError("the graph is not found")

    return find


def _insert(text: str, find: Callable[[str], Place], index: int, name: str, node: str) -> str:
    """Insert a node into a graph, at an index."""
    holder = find(text).holder
    if holder.flow_style:
        if index < len(holder.value):
            start = holder.value[index][0].start_mark.index
            return f"{text[:start]}{name}: {node}, {text[start:]}"
        return add_key(text, holder, name, node)
    near = holder.value[max(index - 1, 0)]
    indent = " " * near[0].start_mark.column
    gap = " "
    if near[1].start_mark.line == near[0].start_mark.line:  # values below each other
        gap *= max(1, near[1].start_mark.column - near[0].start_mark.column - len(name) - 1)
    if "\n" in node and not node.startswith("{"):
        gap = ""
    line = f"{indent}{name}:{gap}{node}"
    if index < len(holder.value) and index == 0:
        start = text.rfind("\n", 0, holder.value[0][0].start_mark.index) + 1
        return f"{text[:start]}{line}\n{text[start:]}"
    end = line_end(text, end_of(text, near[1]))
    return f"{text[:end]}\n{line}{text[end:]}"


def _span(text: str, node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.index, end_of(text, node)


def _sibling(path: str, name: str) -> str:
    head, dot, _ = path.rpartition(".")
    return f"{head}{dot}{name}"


def _base(reference: str) -> str:
    return str(reference).partition(".")[0]


def _free_name(place: Place, name: str) -> str:
    """Return a name that no node has."""
    found, number = name, 1
    while found in place.names or found in (FIRST, place.first):
        number += 1
        found = f"{name}_{number}"
    return found


def _with_input(node: str, reads: str) -> str:
    return f"{node[:-1]}, in: {reads}}}"


def _input_of(text: str, place: Place) -> str:
    """Return what a node reads, the first of several."""
    written = find_key(place.value, "in")
    if written is not None:
        for scalar in _scalars(written[1]):
            return text[scalar.start_mark.index : scalar.end_mark.index]
        raise EditError(f"{place.name} reads nothing")
    return place.names[place.index - 1] if place.index else place.first


def _scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _scalars(each)
    elif isinstance(node, yaml.MappingNode):
        for _, each in node.value:
            yield from _scalars(each)


def _references(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Yield what names other nodes in a node."""
    for word in REFERRING:
        found = find_key(node, word)
        if found is not None:
            yield from _scalars(found[1])


def _expressions(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Yield the values of a node that are expressions."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if key.value in NO_EXPRESSION:
            continue
        if isinstance(value, yaml.MappingNode):
            yield from _expressions(value)
        else:
            yield from (each for each in _scalars(value) if each.style is None)


Change = tuple[yaml.Node, str]


def _refer_later(place: Place, new: str) -> list[Change]:
    """Return the changes by which all that reads a node, or an output of it, reads another."""
    read = [scalar for node in place.later for scalar in _references(node)]
    outputs = find_key(place.owner, "outputs")
    if outputs is not None:
        read += _scalars(outputs[1])
    return [(scalar, new) for scalar in read if _base(scalar.value) == place.name]


def _apply(text: str, changes: Sequence[Change]) -> str:
    """Replace values, the last first."""
    for node, new in sorted(changes, key=lambda each: -each[0].start_mark.index):
        text = text[: node.start_mark.index] + new + text[node.end_mark.index :]
    return text


# The text as a whole ------------------------------------------------------------------------------


def format_text(text: str) -> str:
    """Write a text evenly: values of neighbours below each other, no blanks at the end of lines.

    Raises:
        EditError: it is no YAML, or would mean something else afterwards.
    """
    lines = [line.rstrip() for line in text.split("\n")]
    for holder in _block_mappings(read_root(text)):
        rows = [(key, value) for key, value in holder.value if _is_row(key, value)]
        if len(rows) < 2:
            continue
        width = max(key.end_mark.column for key, _ in rows) + 2
        for key, value in rows:
            line = lines[key.start_mark.line]
            head = line[: key.end_mark.column]
            lines[key.start_mark.line] = f"{head}:".ljust(width) + line[value.start_mark.column :]
    after = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"
    if yaml.safe_load(after) != yaml.safe_load(text):
        raise EditError("the text holds a block that would change: format it by hand")
    return after


def _is_row(key: yaml.Node, value: yaml.Node) -> bool:
    """Return whether a node is written on one line, in braces."""
    is_flow = isinstance(value, yaml.MappingNode) and value.flow_style
    return bool(is_flow) and key.start_mark.line == value.start_mark.line


def _block_mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Yield the graphs of a file that are written in lines."""
    if not isinstance(root, yaml.MappingNode):
        return
    for key, value in root.value:
        if key.value in ("graph", "body") and isinstance(value, yaml.MappingNode):
            if not value.flow_style:
                yield value
            for _, inner in value.value:
                yield from _block_mappings(inner)
        else:
            yield from _block_mappings(value)
