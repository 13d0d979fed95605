"""Shapes with letters for the sizes of the inputs: (batch, height*width/256 + 1, 768).

A model is built again with other sizes. A size that is a sum of products of two sizes of inputs is
found from these models, and checked with one more; every other size stays a number.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from typing import Any

from blocks.graph.compose.compose import Composed
from blocks.graph.errors import ConfigError
from blocks.graph.record.record import Built
from blocks.graph.record.value import BATCH

Plan = Callable[[Composed, Mapping[str, Any]], Built]
Place = tuple[Any, ...]
Subset = tuple[str, ...]
Shapes = dict[tuple[str, str], tuple[int, ...]]  # path and output of a node -> its shape
WIDTHS = ("dim", "channels", "features", "columns", "bands")  # sizes that data do not change
MODEL = ""  # the path of the outputs of the model


@dataclass(frozen=True)
class Axis:
    """A size of an input.

    Args:
        letter: its name in shapes.
        places: where it is stated: of the facts of the data, or of the section `model`.
        size: it.
    """

    letter: str
    places: tuple[Place, ...]
    size: int


@dataclass(frozen=True)
class Letters:
    """Shapes of the outputs of nodes with letters.

    Args:
        axes: the sizes that letters stand for.
        shapes: path and output -> the sizes as texts.
    """

    axes: list[Axis]
    shapes: dict[tuple[str, str], list[str]]

    def sizes(self, path: str, output: str) -> list[int | str]:
        """The sizes of an output; numbers where no letter stands."""
        return [int(text) if text.isdigit() else text for text in self.shapes[path, output]]

    def show(self, path: str, output: str) -> str:
        """ "(batch, tokens, 768)"."""
        return f"({', '.join(self.shapes[path, output])})"

    def legend(self) -> str:
        """The sizes that the other columns are about: "height=224, width=224"."""
        return ", ".join(f"{axis.letter}={axis.size}" for axis in self.axes)


def find_letters(composed: Composed, built: Built, build: Plan) -> Letters:
    """Return the shapes of a model with letters.

    Args:
        composed: its configuration.
        built: it.
        build: builds a configuration with facts of the data.
    """

    def shapes_with(sizes: Mapping[str, int]) -> Shapes:
        """The shapes where some axes have other sizes; without entries if it cannot be built."""
        facts, model = deepcopy(dict(built.facts)), deepcopy(composed.config["model"])
        for axis in axes:
            for place in axis.places:
                section = facts if place[0] == "data" else model
                for key in place[1:-1]:
                    section = section[key]
                section[place[-1]] = sizes.get(axis.letter, axis.size)
        model.pop("expect", None)
        changed = replace(composed, config={**composed.config, "model": model})
        try:
            return _shapes_of(build(changed, facts))
        except ConfigError:
            return {}

    def vary(some: list[Axis]) -> list[Axis]:
        """Those of the axes that can have another size."""
        return [axis for axis in some if shapes_with({axis.letter: 2 * axis.size})]

    axes = list(_find_axes(built))
    base, found = _shapes_of(built), dict[Subset, Shapes]()
    free = vary(axes)
    taken = {axis.letter for axis in free}
    axes = [*free, *_join([axis for axis in axes if axis not in free], taken)]
    axes = vary(axes)
    for subset in _list_subsets(axes):
        found[subset] = shapes_with(
            {axis.letter: 2 * axis.size for axis in axes if axis.letter in subset}
        )
    check = {axis.letter: 3 * axis.size for axis in axes}
    return Letters(axes, dict(_write_shapes(axes, base, found, check, shapes_with(check))))


def _join(axes: list[Axis], taken: set[str]) -> list[Axis]:
    """Sizes that cannot change alone, such as those of tokens and of their mask: equal ones of one
    name as one.

    Args:
        taken: letters of other sizes.
    """
    joined: dict[tuple[str, int], Axis] = {}
    for axis in axes:
        name = str(axis.places[0][-1])
        letter = f"common_{name}" if name in taken else name
        known = joined.get((name, axis.size), Axis(letter, (), axis.size))
        joined[name, axis.size] = replace(known, places=(*known.places, *axis.places))
    return list(joined.values())


def _list_subsets(axes: list[Axis]) -> Iterator[Subset]:
    letters = [axis.letter for axis in axes]
    for count in (1, 2):
        yield from combinations(letters, count)


def _shapes_of(built: Built) -> Shapes:
    found = {(MODEL, name): value.shape for name, value in built.outputs.items()}
    for node in built.walk():
        for name, value in node.outputs.items():
            found[node.path, name] = value.shape
    return found


# Sizes of inputs ----------------------------------------------------------------------------------


def _find_axes(built: Built) -> Iterator[Axis]:
    """The named sizes of the inputs that are stated as a number in one place."""
    seen: set[Place] = set()
    letters: set[str] = set()
    for name, value in built.inputs.items():
        for axis, size in value.axes.items():
            place = _find_place(built, name, axis)
            if axis in WIDTHS or place is None or place in seen:
                continue
            seen.add(place)
            letter = axis if axis not in letters else f"{name}_{axis}"
            letters.add(letter)
            yield Axis(letter, (place,), size)


def _find_place(built: Built, name: str, axis: str) -> Place | None:
    """Where the size of an axis of an input is stated."""
    raw = built.config["inputs"][name]
    place: Place = ("model", "inputs", name)
    if isinstance(raw, Mapping) and "shape" in raw:
        raw, place = raw["shape"], (*place, "shape")
    if isinstance(raw, str) and raw.startswith("data."):
        fact = raw.removeprefix("data.")
        return ("data", fact, axis) if isinstance(built.facts.get(fact), Mapping) else None
    if not isinstance(raw, Mapping) or axis not in raw:
        return None
    if raw[axis] in built.params:
        return "model", "params", raw[axis]
    return (*place, axis)


# Sizes of outputs ---------------------------------------------------------------------------------


def _write_shapes(
    axes: list[Axis],
    base: Shapes,
    found: Mapping[Subset, Shapes],
    sizes: Mapping[str, int],
    checked: Shapes,
) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Each output with its sizes as texts.

    Args:
        base: the shapes of the model.
        found: letters whose sizes are doubled -> the shapes then.
        sizes: other sizes for all letters.
        checked: the shapes with them.
    """
    of = {axis.letter: axis.size for axis in axes}
    for key, shape in base.items():
        others = {subset: shapes.get(key, ()) for subset, shapes in found.items()}
        alike = all(len(other) == len(shape) for other in (*others.values(), checked.get(key, ())))
        texts = []
        for index, size in enumerate(shape):
            text = _write_size(size, {})
            if alike:
                doubled = {subset: other[index] for subset, other in others.items()}
                terms = _find_terms(size, doubled, of)
                if _evaluate(terms, sizes) == checked[key][index]:
                    text = _write_size(size, terms)
            texts.append(text)
        yield key, texts


def _find_terms(
    size: int, doubled: Mapping[Subset, int], of: Mapping[str, int]
) -> dict[Subset, Fraction]:
    """A size as a sum of products of letters: the letters of each -> its factor."""
    terms: dict[Subset, Fraction] = {(): Fraction(size)}
    for subset in sorted(doubled, key=len, reverse=True):
        # what the letters add together, beside what fewer of them add
        added = doubled[subset] - size
        for part in doubled:
            if len(part) < len(subset) and set(part) < set(subset):
                added -= doubled[part] - size
        product = Fraction(1)
        for letter in subset:
            product *= of[letter]
        for count in range(len(subset) + 1):
            for inner in combinations(subset, count):
                outer = Fraction(1)
                for letter in set(subset) - set(inner):
                    outer *= -of[letter]
                terms[inner] = terms.get(inner, Fraction(0)) + added * outer / product
    return {letters: factor for letters, factor in terms.items() if factor}


def _evaluate(terms: Mapping[Subset, Fraction], sizes: Mapping[str, int]) -> Fraction:
    total = Fraction(0)
    for letters, factor in terms.items():
        for letter in letters:
            factor *= sizes[letter]
        total += factor
    return total


def _write_size(size: int, terms: Mapping[Subset, Fraction]) -> str:
    """ "height*width/256 + 1"; a multiple of the batch as "4*batch"."""
    is_batch = size > 0 and size % BATCH == 0
    if not any(terms):
        terms = {(): Fraction(size)}
    texts = []
    for letters in sorted(terms, key=len, reverse=True):
        factor = terms[letters] / BATCH if is_batch else terms[letters]
        names = [*letters, "batch"] if is_batch else list(letters)
        texts.append(_write_term(factor, names))
    return " + ".join(texts).replace("+ -", "- ")


def _write_term(factor: Fraction, names: list[str]) -> str:
    text = "*".join(names)
    if not names:
        return str(factor)
    if abs(factor.numerator) != 1:
        text = f"{factor.numerator}*{text}"
    elif factor < 0:
        text = f"-{text}"
    if factor.denominator != 1:
        text = f"{text}/{factor.denominator}"
    return text
