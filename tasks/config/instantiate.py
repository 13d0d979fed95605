"""Instantiate a section of the configuration: only classes that are named here, only with arguments
that they have.
"""

import contextlib
import functools
import importlib
import operator
import re
from collections.abc import Iterator, Mapping
from typing import Any

from blocks.graph import Composed, ConfigError, Problem, here
from blocks.graph.errors import guess
from tasks.config import hints, ranges, secrets, write_policy
from tasks.config.targets import TARGETS
from tasks.errors import ArgumentError
from tasks.process import runtime

OWN_CLASS = "a class of your own: trust=PACKAGE.CLASS on the command line"
EXTRAS = {
    "wandb": "wandb",
    "mlflow": "mlflow",
    "tensorboard": "tensorboard",
    "tensorboardX": "tensorboard",
    "mnist1d": "mnist1d",
}

REFUSALS = (TypeError, ValueError, OSError, ImportError)  # of what refuses its arguments

Path = tuple[str, ...]


def section(composed: Composed, path: Path) -> Any:
    """Return the part of the configuration at `path`."""
    return functools.reduce(operator.getitem, path, composed.config)


def problem(composed: Composed, path: Path, text: str, *, code: str, **parts: Any) -> Problem:
    """Return a Problem at `path`, with the origin of the value and without secrets."""
    name = ".".join(path)
    if len(path) == 1:
        lines = []
        for override in getattr(composed, "overrides", ()):
            if override.lstrip("+~").startswith(name):
                lines.append(f"the command line: {override}")
        if lines:
            parts.setdefault("source", "\n".join(lines))
    for part, value in parts.items():
        if isinstance(value, str):
            parts[part] = secrets.hide_in_message(value)
    return Problem(
        secrets.hide_in_message(text), where=composed.origin(name), path=name, code=code, **parts
    )


def config_error(composed: Composed, path: Path, text: str, **parts: Any) -> ConfigError:
    """Return the error with one problem; the arguments are those of `problem`."""
    return ConfigError(problem(composed, path, text, **parts))


def make(
    composed: Composed,
    path: Path,
    given: Mapping[str, Any] | None = None,
    *,
    leave: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> Any:
    """Instantiate the object that the section at `path` describes.

    Args:
        composed: the configuration and where each value was written.
        path: e.g. ("data",) or ("callbacks", "progress").
        given: arguments that the program adds.
        leave: parameters that are given later; the result is a `functools.partial`.
        without: entries of the section that are no arguments.

    Raises:
        ConfigError: the class or an argument does not fit, or the class refuses an argument.
    """
    given = given or {}
    target = find_class(composed, path)
    arguments = {}
    for key, value in section(composed, path).items():
        if key != "_target_" and key not in without:
            arguments[key] = value
    arguments = read_environment(composed, path, arguments)
    problems = [*check(composed, path, target, arguments, {*given, *leave})]
    if path[0] == "trainer":
        problems += write_policy.find_violations(composed, path, arguments)
    if problems:
        raise ConfigError(problems)
    try:
        with locating(composed, path), importing(composed, path):
            if leave:
                return functools.partial(target, **arguments)
            return target(**arguments, **given)
    except ConfigError:
        raise
    except Exception as error:
        # by its name: importing Lightning takes longer than the facts of most data
        is_lightning = type(error).__name__ == "MisconfigurationException"
        if not is_lightning and not isinstance(error, REFUSALS):
            raise
        refusal = refusal_problem(composed, path, target, arguments, error)
        raise ConfigError(refusal) from error


def refusal_problem(
    composed: Composed, path: Path, target: Any, arguments: Mapping[str, Any], error: Exception
) -> Problem:
    """Return the problem of a class that refuses its arguments, at the argument that it names."""
    text = " ".join(str(error).split())
    got, fix = None, "other values"
    for name in find_argument(text, arguments):
        path = (*path, name)
        got = f"{name}={arguments[name]!r}"
        fix = f"another value of {'.'.join(path)}, or leave it out"
    if "gpu backend" in text or "torch_xla" in text:
        fix = "trainer=cpu"
    return problem(
        composed, path, f"{target.__name__} refuses: {text}", got=got, fix=fix, code="bad-argument"
    )


def find_argument(text: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the argument that a message names first, as a tuple; empty if it names none."""
    first: tuple[int, str] | None = None
    for name in arguments:
        match = re.search(rf"\b{re.escape(name)}\b", text)
        if match and (first is None or match.start() < first[0]):
            first = match.start(), name
    return () if first is None else (first[1],)


def read_environment(composed: Composed, path: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with `${oc.env:NAME}` replaced, where that is allowed: in the data, or on
    the command line.

    Raises:
        ConfigError: the environment has no such variable.
    """
    asked: frozenset[tuple[Any, ...]] = getattr(composed, "environment", frozenset())
    read = {}
    for key, value in arguments.items():
        where = (*path, key)
        is_allowed = path[0] == "data" or any(each[: len(where)] == where for each in asked)
        with locating(composed, where):
            read[key] = secrets.reveal(value) if is_allowed else value
    return read


@contextlib.contextmanager
def locating(composed: Composed, path: Path, *, exact: bool = False) -> Iterator[None]:
    """Raise the ArgumentErrors inside as ConfigErrors at the argument in the section `path`.

    Args:
        exact: whether `path` is the argument itself.
    """
    try:
        yield
    except ArgumentError as error:
        if error.argument and not exact:
            path = (*path, error.argument)
        parts = {"got": error.got, "fits": error.fits, "fix": error.fix, "code": error.code}
        raise config_error(composed, path, error.problem, **parts) from error


# Classes ------------------------------------------------------------------------------------------


def find_class(composed: Composed, path: Path) -> Any:
    """Return the class behind `_target_`; it is imported only if its exact name is allowed in this
    section.

    Raises:
        ConfigError: no `_target_`, or one that is not allowed.
    """
    values = section(composed, path)
    allowed = TARGETS[path[0]]
    shown = ".".join(path)
    if not isinstance(values, dict) or "_target_" not in values:
        raise config_error(
            composed,
            path,
            f"{shown} has no _target_: it does not state its class",
            fits=", ".join(allowed),
            fix=f"{shown}._target_={allowed[0]}",
            code="missing-key",
        )
    name = values["_target_"]
    if name in getattr(composed, "typed", {}).get("trust", []):
        return import_trusted(composed, path, name)
    if name not in allowed:
        raise config_error(
            composed,
            (*path, "_target_"),
            f"this _target_ is not allowed in the section {path[0]}",
            got=str(name),
            fits=", ".join(allowed),
            fix=guess(name, allowed) or OWN_CLASS,
            code="not-allowed",
        )
    with importing(composed, path):
        return import_name(name)


def import_name(name: str) -> Any:
    """Import a class by its full name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def import_trusted(composed: Composed, path: Path, name: str) -> Any:
    """Import a class that the command line trusts, which runs its code."""
    try:
        with here():
            return import_name(name)
    except Exception as error:  # the user's file may raise anything
        raise config_error(
            composed,
            (*path, "_target_"),
            f"{name} cannot be imported",
            got=f"{type(error).__name__}: {error}",
            fits="package.module.Class, installed or below the folder where the program starts",
            code="broken-code",
        ) from error


@contextlib.contextmanager
def importing(composed: Composed, path: Path) -> Iterator[None]:
    """Raise a ConfigError that says what to install where an optional package is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = str(error).lower()
        for package, extra in EXTRAS.items():
            if package.lower() in message:
                name = section(composed, path)["_target_"]
                text = f"{name} needs the package {package}, which is not installed"
                fix = f"pip install -c constraints.txt -e '.[{extra}]'"
                raise config_error(composed, path, text, fix=fix, code="not-installed") from error
        raise


# Arguments ----------------------------------------------------------------------------------------

# Arguments that a class hands on, beside its own; a class with others that is not here takes any.
HANDED_ON = {  # to torch's SummaryWriter
    "TensorBoardLogger": ("comment", "purge_step", "max_queue", "flush_secs", "filename_suffix")
}


def check(
    composed: Composed, path: Path, target: Any, arguments: Mapping[str, Any], given: set[str]
) -> Iterator[Problem]:
    """Yield problems with the names and the values of `arguments`.

    Args:
        target: the class.
        given: parameters that the program gives.
    """
    known, open_ended = hints.read_parameters(target)
    others = HANDED_ON.get(target.__name__, ())
    takes_any = open_ended and not others
    for key, value in arguments.items():
        is_known = key in known or key in others or takes_any
        if key in given or not is_known:
            usable = [name for name in (*known, *others) if name not in given]
            yield problem(
                composed,
                (*path, key),
                f"{target.__name__} has no argument {key}",
                fits=", ".join(usable),
                fix=guess(key, usable),
                code="unknown-argument",
            )
        elif key not in known:
            yield from write_policy.refuse_unchecked(composed, path, key)
        else:
            yield from check_value(composed, (*path, key), value, known[key][0])
    for name, (_, required) in known.items():
        if required and name not in arguments and name not in given:
            yield missing_problem(composed, path, ".".join((*path, name)))


def missing_problem(composed: Composed, path: Path, name: str) -> Problem:
    """Return the problem of a value that is missing."""
    return problem(composed, path, f"{name} is missing", fix=f"{name}=...", code="missing-argument")


def check_value(composed: Composed, path: Path, value: Any, hint: Any) -> Iterator[Problem]:
    """Yield the problem of one value: missing, of another type, outside its range, or more than the
    machine has.
    """
    key = path[-1]
    bound = ranges.find_violation(path[0], key, value)
    if value == "???":
        yield missing_problem(composed, path, ".".join(path))
    elif not hints.fits(value, hint):
        text = f"{key} must be {hints.describe_hint(hint)}"
        fix = guess(value, hints.list_choices(hint))
        yield problem(composed, path, text, got=f"{key}={value!r}", fix=fix, code="bad-value")
    elif bound is not None:
        yield problem(
            composed,
            path,
            f"{key} {bound.must}",
            got=f"{key}={value}",
            fits=bound.fits,
            code="bad-value",
        )
    else:
        yield from check_excess(composed, path, value)


def check_excess(composed: Composed, path: Path, value: Any) -> Iterator[Problem]:
    """Yield a problem where a value asks for more processes, threads or machines than there are."""
    excess = runtime.find_excess(path, value, typed=write_policy.is_typed(composed, path))
    if excess is not None:
        text, fits = excess
        yield problem(composed, path, text, got=f"{path[-1]}={value}", fits=fits, code="too-large")
