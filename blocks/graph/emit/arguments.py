"""Constructor arguments of the classes: what differs between the bodies that share one is handed in."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from blocks.graph.emit.call import ABSENT, first_of
from blocks.graph.emit.group import Code, Group, Made

WIDTHS = ("dim", "normalized_shape", "in_features", "out_features", "channels", "in_channels", "out_channels",
          "num_features", "num_channels", "features", "hidden_size", "groups", "context_dim")  # fmt: skip

SIDES = {"height": "side", "width": "side"}


class Arguments:
    """The constructor of a class: its parameters and the expression that makes each child.

    Args:
        bodies: all classes; those of the children are settled.
        group: the class.
    """

    def __init__(self, bodies: Any, group: Group):
        self.bodies, self.group = bodies, group
        self.columns: dict[str, tuple[str, list[Any]]] = {}
        self.narrow: dict[str, tuple[str, list[Any]]] = {}  # widths of which others are multiples

    def settle(self) -> None:
        """Find them; what only some bodies have comes last, in the numbers of the others."""
        known = -1
        while known < len(self.narrow):
            known = len(self.narrow)
            self.columns = dict(self.narrow)
            self._settle()

    def _settle(self) -> None:
        group, members = self.group, [self.bodies.children(member) for member in self.group.members]
        stored = [name for name in members[0] if name not in group.silent]
        for name in sorted(stored, key=lambda name: name in group.optional):
            mades = [self.bodies.made(each[name]) if name in each else ABSENT for each in members]
            line = self._line(name, mades)
            if name in group.optional:
                self.columns[name] = ("optional", [made is not ABSENT for made in mades])
                line = f"{line} if {name} else nn.Identity()"
            group.lines[name] = line
        group.lines = {name: group.lines[name] for name in stored}
        group.parameters = {
            name: [first_of(values) if value is ABSENT else value for value in values]
            for name, (_, values) in self.columns.items()
        }

    def _line(self, name: str, mades: list[Any]) -> str:
        there = [made for made in mades if made is not ABSENT]
        first = there[0]
        if name in self.group.holes or any(made.callee is not first.callee for made in there):
            return self._hole(name, mades, lambda text, made: made)
        if not first.elements:
            return self._call(name, mades)
        kinds = {id(element.callee) for made in there for element in made.elements}
        if len(kinds) == 1 and len(mades) > 1:
            rows = [[] if made is ABSENT else made.elements for made in mades]
            return self.bodies.texts.container(first.callee, rows, lambda a, v: self.parameter(name, a, v))
        return self._hole(name, mades, lambda text, made: Code(text))

    def _hole(self, name: str, mades: list[Any], value: Callable[[str, Made], Any]) -> str:
        """A child that is handed in as a whole."""
        texts = ["nn.Identity()" if made is ABSENT else self.bodies.texts.made(made) for made in mades]
        if len(set(texts)) == 1:
            return texts[0]
        name = f"{name}_" if name in self.group.optional else name
        self.columns[name] = ("hole", [value(text, made) for text, made in zip(texts, mades, strict=True)])
        return name

    def _call(self, child: str, mades: list[Any]) -> str:
        texts = self.bodies.texts
        there = [made for made in mades if made is not ABSENT]
        values = {
            key: [ABSENT if made is ABSENT else texts.argument(made, key) for made in mades]
            for key in texts.keys(there)
        }
        given = {key: self.parameter(child, key, column) for key, column in values.items()}
        return str(texts.call(there[0].callee, given))

    def parameter(self, child: str, argument: str, values: list[Any]) -> str:
        """The text of an argument: a value if all bodies have it, else a parameter or a multiple of one."""
        there = [value for value in values if value is not ABSENT]
        literals = {self.bodies.texts.literal(value) for value in there}
        if len(literals) == 1:
            return str(literals.pop())
        first = there[0]
        if all(isinstance(v, Made) and v.callee is first.callee and not v.elements for v in there):
            return self._call(child, values)
        wide = argument in WIDTHS
        same = "width" if wide else SIDES.get(argument, argument)
        for name, (kind, known) in self.columns.items():
            if isinstance(first, Code | Made):
                break
            pairs = [(value, other) for value, other in zip(values, known, strict=True) if value is not ABSENT]
            if kind == same and all(repr(value) == repr(other) for value, other in pairs):
                return name
            if kind == "width" and (wide or argument == "hidden") and (times := _multiple(pairs)):
                return f"{times} * {name}"
            if kind == "width" and wide and (times := _multiple([(other, value) for value, other in pairs])):
                if len(there) == len(values) and (same, values) not in self.narrow.values():
                    self.narrow[self._name(child, argument)] = (same, values)
                return f"{name} // {times}"
        name = self._name(child, argument)
        self.columns[name] = (same, values)
        return name

    def _name(self, child: str, argument: str) -> str:
        name = argument
        if argument.startswith(("in_", "normalized", "num_")) or argument in ("dim", "channels"):
            name = "channels" if "channels" in argument or argument == "num_features" else "dim"
        elif argument in WIDTHS:
            name = "hidden" if child == "expand" else "features"
        if name in self.columns or name in dir(nn.Module):
            name = f"{child}_{argument}" if not child.isdigit() else f"{argument}_{child}"
        return name


def _multiple(pairs: Sequence[tuple[Any, Any]]) -> int | None:
    """How many times the second of each pair the first is, where they differ and it is the same for all."""
    numbers = [number for pair in pairs for number in pair]
    if not all(type(number) is int and number > 0 for number in numbers) or len({pair[1] for pair in pairs}) == 1:
        return None
    times = pairs[0][0] // pairs[0][1]
    return times if 2 <= times <= 4 and all(a == times * b for a, b in pairs) else None
