"""The error of a block that cannot be built or run with its arguments."""

from collections.abc import Sequence

MAX_DIVISOR = 10_000  # divisors above are not listed, so that a width of a trillion fails fast


class BlockError(ValueError):
    """An error of a block. The graph adds the place in the YAML and the origin of the values.

    Args:
        problem: what is wrong, in one sentence, e.g. "heads must divide dim".
        got: what was given, e.g. "heads=7, dim=192".
        fits: what would be valid, e.g. "heads in 1, 2, 3, 4, 6, 8".
        fix: what to change, where that is more than choosing a valid value.
        code: the kind of mistake for programs, one of `blocks.graph.codes`.
    """

    def __init__(
        self,
        problem: str,
        *,
        got: str | None = None,
        fits: str | None = None,
        fix: str | None = None,
        code: str = "bad-argument",
    ):
        self.problem, self.got, self.fits, self.fix = problem, got, fits, fix
        self.code = code
        parts = [problem, got and f"got {got}", fits and f"fits: {fits}", fix and f"fix: {fix}"]
        super().__init__("; ".join(part for part in parts if part))


def must_divide(name: str, value: int, of: str, whole: int) -> None:
    """Raise a BlockError unless `value` is positive and divides `whole`."""
    if value < 1 or whole % value:
        divisors = [str(k) for k in range(1, min(whole, MAX_DIVISOR) + 1) if whole % k == 0]
        more = len(divisors) > 8 or whole > MAX_DIVISOR
        shown = ", ".join([*divisors[:8], "..."] if more else divisors)
        raise BlockError(
            f"{name} must divide {of}",
            got=f"{name}={value}, {of}={whole}",
            fits=f"{name} in {shown}",
        )


def must_be_multiple(name: str, value: int, parts: int = 2) -> None:
    """Raise a BlockError unless `value` is a positive multiple of `parts`."""
    if value < 1 or value % parts:
        nearest = max(parts, round(value / parts) * parts)
        raise BlockError(
            f"{name} must be a multiple of {parts}",
            got=f"{name}={value}",
            fits=f"e.g. {name}={nearest}",
        )


def must_be_one_of(name: str, value: str, known: Sequence[str]) -> None:
    """Raise a BlockError unless `value` is one of the known words."""
    if value not in known:
        raise BlockError(
            f"{name} is not known",
            got=f"{name}={value}",
            fits=f"{name} in {', '.join(known)}",
        )


def must_be_share(name: str, value: float) -> None:
    """Raise a BlockError unless `value` lies in [0, 1)."""
    if not 0 <= value < 1:
        raise BlockError(
            f"{name} must be in [0, 1)", got=f"{name}={value}", fits=f"e.g. {name}=0.1"
        )


def must_have_equal_shapes(**shapes: tuple[int, ...]) -> None:
    """Raise a BlockError unless all shapes are the same."""
    first, *others = shapes.values()
    if any(shape != first for shape in others):  # compared, not hashed: sizes may be symbols
        got = ", ".join(f"{name} {shape[1:]}" for name, shape in shapes.items())
        raise BlockError(
            f"{' and '.join(shapes)} have one shape",
            got=f"{got} of each sample",
            code="shape-mismatch",
        )


def must_be_positive(name: str, value: int | float) -> None:
    """Raise a BlockError unless `value` is greater than zero."""
    if value <= 0:
        raise BlockError(
            f"{name} must be positive", got=f"{name}={value}", fits=f"{name}=1 or more"
        )
