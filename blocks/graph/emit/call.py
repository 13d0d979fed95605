"""Expressions that make modules: calls of classes, repeats as comprehensions."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blocks.graph.emit.group import Code, Group, Made

ABSENT = object()  # the value of a body that does not have the child

Give = Callable[[str, list[Any]], str]


class Texts:
    """Expressions that make modules.

    Args:
        settled: parameters that the constructors of the blocks take no more.
    """

    def __init__(self, settled: Mapping[type, set[str]]):
        self.settled = settled

    def made(self, made: Made) -> str:
        if made.elements:
            return self.container(made.callee, [made.elements], None)
        return self.call(made.callee, {key: self.literal(value) for key, value in made.arguments.items()})

    def literal(self, value: Any) -> str:
        if isinstance(value, Made):
            return self.made(value)
        return str(value) if isinstance(value, Code) else repr(value)

    def keys(self, mades: Sequence[Made]) -> dict[str, None]:
        """Arguments that the constructor still takes, of any of them."""
        callee = mades[0].callee
        gone = set() if isinstance(callee, Group) else self.settled.get(callee, set())
        return {key: None for made in mades for key in made.arguments if key not in gone}

    def argument(self, made: Made, key: str) -> Any:
        if key in made.arguments:
            return made.arguments[key]
        return inspect.signature(made.callee.__init__).parameters[key].default

    def call(self, callee: Any, texts: Mapping[str, str]) -> str:
        """The call that makes a module: what is usual is left out, what is positional stands first."""
        if isinstance(callee, Group):
            switches = {name: default_of(values) for name, values in callee.parameters.items()}
            given = [texts[name] for name, usual in switches.items() if usual is None]
            given += [f"{name}={texts[name]}" for name, usual in switches.items() if usual not in (None, texts[name])]
            return f"{callee.name}({', '.join(given)})"
        name = f"nn.{callee.__name__}" if callee.__module__.startswith("torch.") else callee.__name__
        known = inspect.signature(callee.__init__).parameters
        if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in known.values()):
            given = [text if at < 2 else f"{key}={text}" for at, (key, text) in enumerate(texts.items())]
            return f"{name}({', '.join(given)})"
        shown, position = [], 0
        gone = self.settled.get(callee, set())
        for key, parameter in list(known.items())[1:]:
            if key in gone:
                continue
            usual = parameter.default is not parameter.empty
            if key not in texts or (usual and texts[key] == repr(parameter.default)):
                position = 99
                continue
            bare = parameter.kind is not parameter.KEYWORD_ONLY
            bare &= position < 2 or (position == 2 and key in ("kernel_size", "width"))
            bare &= not (usual and position == 0 and key in ("p", "eps"))
            shown.append(texts[key] if bare else f"{key}={texts[key]}")
            position += 1 if bare else 99
        return f"{name}({', '.join(shown)})"

    def container(self, kind: str, rows: list[list[Made]], parameter: Give | None) -> str:
        """A repeat: a comprehension where its elements are of one class, a list otherwise.

        Args:
            kind: "Sequential" or "ModuleList".
            rows: the elements in each body; none where the body is without the repeat.
            parameter: gives the text of an argument.
        """
        full = [row for row in rows if row]
        first, name = full[0], "nn.Sequential" if kind == "Sequential" else "nn.ModuleList"
        if len({id(item.callee) for item in first}) > 1 or first[0].elements:
            inner = ", ".join(self.made(item) for item in first)
            return f"{name}({inner})" if kind == "Sequential" else f"{name}([{inner}])"
        give = parameter or (lambda argument, values: self.literal(values[0]))
        if parameter is None and _is_table(self, first):
            inner = ", ".join(map(self.made, first))
            return f"{name}({inner})" if kind == "Sequential" else f"{name}([{inner}])"
        parts = _parts(self, rows)
        texts = [self._walk(part, give, at) for at, part in enumerate(parts)]
        alone = len(texts) == 1 and not texts[0].startswith("*")
        if kind == "Sequential":
            return f"{name}({', '.join(texts)})"
        return f"{name}({texts[0][2:-1]})" if len(texts) == 1 and not alone else f"{name}([{', '.join(texts)}])"

    def _walk(self, rows: list[list[Made]], give: Give, before: int) -> str:
        """Elements of one class, behind so many others: one call, or a starred comprehension."""
        full = [row for row in rows if row]
        callee, texts, loops = full[0][0].callee, {}, []
        for key in self.keys([item for row in full for item in row]):
            columns: list[Any] = [[self.argument(item, key) for item in row] for row in rows]
            alike = all(len({self.literal(value) for value in column}) == 1 for column in columns if column)
            # A module that is handed in stands once: each element needs one of its own.
            heads = [column[0] if column else ABSENT for column in columns]
            handed = isinstance(first_of(heads), Code | Made)
            handed &= len({self.literal(head) for head in heads if head is not ABSENT}) > 1
            if alike and not handed:
                texts[key] = give(key, heads)
            else:
                literal = [Code(_progression(column) or self._tuple(column)) if column else ABSENT
                           for column in columns]  # fmt: skip
                texts[key] = key
                loops.append((key, give(f"{key}s", literal)))
        call = self.call(callee, texts)
        if not loops and all(len(row) == 1 for row in full):
            return call
        if not loops:
            depth = give("depth", [before + len(row) if row else ABSENT for row in rows])
            times = str(int(depth) - before) if depth.isdigit() else f"{depth} - {before}" if before else depth
            head = f"for _ in range({times})"
        elif len(loops) == 1:
            name_of, source = loops[0]
            walked = re.fullmatch(r"\[(.*) for i in (range\(.*\))\]", source)
            head = f"for i in {walked[2]}" if walked else f"for {name_of} in {source}"
            if walked:
                call = self.call(callee, {**texts, name_of: walked[1]})
        else:
            head = f"for {', '.join(a for a, _ in loops)} in zip({', '.join(b for _, b in loops)}, strict=True)"
        return f"*({call} {head})"

    def _tuple(self, row: Sequence[Any]) -> str:
        return f"({', '.join(map(self.literal, row))}{',' if len(row) == 1 else ''})"


def _parts(texts: Texts, rows: list[list[Made]]) -> list[list[list[Made]]]:
    """The first element apart, where those behind it are equal and it is not."""
    full = [row for row in rows if row]
    if any(len({texts.made(item) for item in row[1:]}) != 1 for row in full):
        return [rows]
    if all(texts.made(row[0]) == texts.made(row[1]) for row in full) or max(map(len, full)) < 3:
        return [rows]
    return [[row[:1] for row in rows], [row[1:] for row in rows]]


def _is_table(texts: Texts, row: list[Made]) -> bool:
    """Whether few elements differ in so much that each is better written out."""
    keys = texts.keys(row)
    return (
        len(row) <= 8 and sum(len({texts.literal(texts.argument(item, key)) for item in row}) > 1 for key in keys) > 2
    )


def default_of(values: list[Any]) -> str | None:
    """The usual state of a switch; None for what is no switch."""
    return repr(sum(values) * 2 > len(values)) if kind_of(values) == "bool" else None


def kind_of(values: list[Any]) -> str:
    """The annotation of a parameter that takes these values."""
    if any(isinstance(value, Made) for value in values):
        return "nn.Module"
    if all(isinstance(value, Code) for value in values):
        begins = {"(": "tuple", "[": "list"}
        return " | ".join(sorted({begins.get(value[0], "nn.Module") for value in values}))
    kinds = sorted({type(value).__name__ if value is not None else "None" for value in values} - {"Code"})
    kinds = [kind for kind in kinds if kind != "None"] + ["None"] * ("None" in kinds)
    return " | ".join(kinds) or "nn.Module"


def _progression(row: Sequence[Any]) -> str | None:
    """Rates that rise evenly, `0.1 * (i / 11)`, where that gives each of them to the bit and the numbers are many."""
    if len(row) < 4 or not all(type(value) is float for value in row) or row[-1] <= 0:
        return None
    for whole in range(1, 200):
        for last in range(len(row) - 1, whole + 1):
            first, top = last - len(row) + 1, float(f"{row[-1] * whole / last:.4g}")
            if all(top * ((first + at) / whole) == value for at, value in enumerate(row)):
                return f"[{top!r} * (i / {whole}) for i in range({f'{first}, ' if first else ''}{last + 1})]"
    return None


def first_of(values: Sequence[Any]) -> Any:
    """The first value that is there."""
    return next(value for value in values if value is not ABSENT)
