"""What a task, a data module or an optimiser says about an argument that it cannot use."""

from functools import partial
from typing import Any

# argument that names a file or a folder -> the kind of mistake
CODES = {
    "path": "bad-data",
    "table": "bad-data",
    "data": "data-mismatch",
    "ckpt_path": "bad-run",
    "resume": "bad-run",
    "run": "bad-run",
    "out": "unwritable-file",
    "output": "unwritable-file",
    "tokenizer": "bad-data",
    "check_causal": "failed-check",
    "check_padding": "failed-check",
}


class ArgumentError(ValueError):
    """An argument does not do; `tasks.config.instantiate` adds where it was written.

    Args:
        argument: the name of the parameter, e.g. "batch_size".
        problem: one sentence, e.g. "batch_size must be positive".
        got: what came, where it is not the value itself.
        fits: what would do.
        fix: what to change, where that is more than choosing a value that fits.
        code: the kind of mistake for programs; derived from the argument when left out.
    """

    def __init__(
        self,
        argument: str,
        problem: str,
        *,
        got: str | None = None,
        fits: str | None = None,
        fix: str | None = None,
        code: str | None = None,
    ):
        self.code = code or CODES.get(argument, "bad-argument")
        self.argument, self.problem, self.got, self.fits, self.fix = (
            argument,
            problem,
            got,
            fits,
            fix,
        )
        parts = [problem, got and f"got {got}", fits and f"fits: {fits}", fix and f"fix: {fix}"]
        super().__init__("; ".join(part for part in parts if part))

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what makes it again in another process."""
        make = partial(ArgumentError, got=self.got, fits=self.fits, fix=self.fix, code=self.code)
        return make, (self.argument, self.problem)


class SampleError(RuntimeError):
    """A sample cannot be read while the network is trained; a crash, so that what was learned is
    kept.

    Args:
        problem: as for `ArgumentError`, like the other parts.
        got: what came.
        fits: what would do.
        fix: what to change.
    """

    code = "bad-data"

    def __init__(
        self,
        problem: str,
        *,
        got: str | None = None,
        fits: str | None = None,
        fix: str | None = None,
    ):
        self.problem, self.got, self.fits, self.fix = problem, got, fits, fix
        lines = [problem]
        for word, text in {"got": got, "fits": fits, "fix": fix}.items():
            if text:
                lines.append(f"  {word:<9} {text}")
        super().__init__("\n".join(lines))

    @classmethod
    def of(cls, error: ArgumentError, fix: str) -> "SampleError":
        """Return an error of a sample with the parts of `error`, and one more fix."""
        fixes = "; ".join(filter(None, (error.fix, fix)))
        return cls(error.problem, got=error.got, fits=error.fits, fix=fixes)


def must_be_positive(argument: str, value: float, fits: str = "1 or more") -> None:
    """Raise an ArgumentError unless `value` is greater than zero."""
    if not value > 0:
        raise ArgumentError(
            argument, f"{argument} must be positive", got=f"{argument}={value}", fits=fits
        )


def must_not_be_negative(argument: str, value: float) -> None:
    """Raise an ArgumentError if `value` is less than zero."""
    if not value >= 0:
        raise ArgumentError(
            argument,
            f"{argument} must not be negative",
            got=f"{argument}={value}",
            fits="0 or more",
        )


def must_be_share(argument: str, value: float) -> None:
    """Raise an ArgumentError unless `value` lies in [0, 1)."""
    if not 0 <= value < 1:
        raise ArgumentError(
            argument, f"{argument} must be in [0, 1)", got=f"{argument}={value}", fits="e.g. 0.1"
        )


def must_be_one_of(argument: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise an ArgumentError unless `value` is one of `choices`."""
    if value not in choices:
        shown = ", ".join(str(choice) for choice in choices)
        raise ArgumentError(
            argument, f"{argument} is none of its choices", got=f"{argument}={value}", fits=shown
        )
