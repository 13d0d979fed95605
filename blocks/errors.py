"""What a block raises when it cannot be built or run as asked."""

# numbers that are tried for an answer: a width of a trillion must not take a day to refuse
LOOKED_AT = 10_000


class BlockError(ValueError):
    """A block says what is wrong; the graph adds where it stands and where the values came from.

    Args:
        problem: one sentence, e.g. "heads must divide dim".
        got: what came, e.g. "heads=7, dim=192".
        fits: what would do, e.g. "heads in 1, 2, 3, 4, 6, 8".
        fix: what to change, where that is more than choosing a value that fits.
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
        divisors = [str(k) for k in range(1, min(whole, LOOKED_AT) + 1) if whole % k == 0]
        more = len(divisors) > 8 or whole > LOOKED_AT
        shown = ", ".join([*divisors[:8], "..."] if more else divisors)
        raise BlockError(
            f"{name} must divide {of}",
            got=f"{name}={value}, {of}={whole}",
            fits=f"{name} in {shown}",
        )


def must_be_share(name: str, value: float) -> None:
    """Raise a BlockError unless `value` lies in [0, 1)."""
    if not 0 <= value < 1:
        raise BlockError(
            f"{name} must be in [0, 1)", got=f"{name}={value}", fits=f"{name}=0.1, say"
        )


def must_be_positive(name: str, value: int | float) -> None:
    """Raise a BlockError unless `value` is greater than zero."""
    if value <= 0:
        raise BlockError(
            f"{name} must be positive", got=f"{name}={value}", fits=f"{name}=1 or more"
        )
