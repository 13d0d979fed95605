"""From a section of the configuration to an object: only what is named here, only with arguments it
has.
"""

import functools
import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pytorch_lightning.utilities.exceptions import MisconfigurationException

from blocks.graph import ConfigError, Problem, here
from blocks.graph.errors import guess
from tasks.config import hints, ranges, secrets, write_policy
from tasks.config.targets import TARGETS
from tasks.errors import ArgumentError
from tasks.process import runtime

OF_ONES_OWN = "a class of your own: trust=PACKAGE.CLASS on the command line"
EXTRAS = {
    "wandb": "wandb",
    "mlflow": "mlflow",
    "tensorboard": "tensorboard",
    "tensorboardX": "tensorboard",
    "mnist1d": "mnist1d",
}

Path = tuple[str, ...]


def section(composed: Any, path: Path) -> dict:
    """The part of the configuration at `path`."""
    return functools.reduce(lambda found, key: found[key], path, composed.config)


def problem(composed: Any, path: Path, text: str, **parts: Any) -> Problem:
    """A Problem at `path`, with the place the value came from."""
    chosen = [
        text for text in getattr(composed, "overrides", ()) if text.lstrip("+~").startswith(path[0])
    ]
    if len(path) == 1 and chosen:
        parts.setdefault("source", "\n".join(f"the command line: {text}" for text in chosen))
    parts = {
        name: secrets.hide_in_message(part) if isinstance(part, str) else part
        for name, part in parts.items()
    }
    return Problem(
        secrets.hide_in_message(text),
        where=composed.origin(".".join(path)),
        path=".".join(path),
        **parts,
    )


def make(
    composed: Any,
    path: Path,
    given: Mapping[str, Any] | None = None,
    *,
    leave: tuple[str, ...] = (),
    without: tuple[str, ...] = (),
) -> Any:
    """The object that the section at `path` describes.

    Args:
        composed: the configuration and where each value was written.
        path: e.g. ("data",) or ("callbacks", "progress").
        given: arguments that the program adds.
        leave: parameters that whoever uses the object will give; the result is a
            `functools.partial` then.
        without: entries of the section that are meant for somebody else.
    """
    target = find(composed, path)
    arguments = {
        key: value
        for key, value in section(composed, path).items()
        if key not in ("_target_", *without)
    }
    arguments = with_environment(composed, path, arguments)
    problems = [*check(composed, path, target, arguments, {*(given or {}), *leave})]
    problems += write_policy.strays(composed, path, arguments) if path[0] == "trainer" else ()
    if problems:
        raise ConfigError(problems)
    try:
        with importing(composed, path):
            return (
                functools.partial(target, **arguments)
                if leave
                else target(**arguments, **(given or {}))
            )
    except ArgumentError as error:
        raise ConfigError([told(composed, path, error)]) from error
    except (TypeError, ValueError, OSError, ImportError, MisconfigurationException) as error:
        if isinstance(error, ConfigError):
            raise
        text = " ".join(str(error).split())
        at = (*path, *named_in(text, arguments))
        fix = (
            f"another value of {'.'.join(at)}, or leave it out"
            if len(at) > len(path)
            else "other values"
        )
        fix = "trainer=cpu" if "gpu backend" in text or "torch_xla" in text else fix
        got = f"{at[-1]}={arguments[at[-1]]!r}" if len(at) > len(path) else None
        raise ConfigError(
            [problem(composed, at, f"{target.__name__} refuses: {text}", got=got, fix=fix)]
        ) from error


def named_in(text: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The argument that a refusal speaks of, if it names one: its line is where to look."""
    found = {
        name: place for name in arguments if (place := re.search(rf"\b{re.escape(name)}\b", text))
    }
    return (min(found, key=lambda name: found[name].start()),) if found else ()


def with_environment(composed: Any, path: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments with what the environment says, where they may ask for it: in the data, or on the
    command line.
    """
    asked: frozenset = getattr(composed, "environment", frozenset())
    allowed = {
        key
        for key in arguments
        if path[0] == "data" or any(a[: len(path) + 1] == (*path, key) for a in asked)
    }
    try:
        return {
            key: secrets.reveal(value) if key in allowed else value
            for key, value in arguments.items()
        }
    except ArgumentError as error:
        key = next(
            key for key in arguments if key in allowed and str(error.got) in str(arguments[key])
        )
        where = (*path, key)
        raise ConfigError(
            [problem(composed, where, error.problem, got=error.got, fix=error.fix)]
        ) from error


def told(composed: Any, path: Path, error: ArgumentError) -> Problem:
    """What an object says about one of its arguments, with the place where the argument was
    written.
    """
    where = (*path, error.argument) if error.argument else path
    return problem(composed, where, error.problem, got=error.got, fits=error.fits, fix=error.fix)


def find(composed: Any, path: Path) -> Any:
    """The class behind `_target_`, imported only if its exact name is allowed in this section."""
    values, allowed = section(composed, path), TARGETS[path[0]]
    shown = ".".join(path)
    if not isinstance(values, dict) or "_target_" not in values:
        text = f"{shown} has no _target_: it does not say what it is"
        raise ConfigError(
            [
                problem(
                    composed,
                    path,
                    text,
                    fits=", ".join(allowed),
                    fix=f"{shown}._target_={allowed[0]}",
                )
            ]
        )
    name = values["_target_"]
    trusted = getattr(composed, "typed", {}).get("trust", [])
    if name in trusted:
        return find_trusted(composed, path, name)
    if name not in allowed:
        raise ConfigError(
            [
                problem(
                    composed,
                    (*path, "_target_"),
                    f"_target_ names what may not stand in the section {path[0]}",
                    got=str(name),
                    fits=", ".join(allowed),
                    fix=guess(name, allowed) or OF_ONES_OWN,
                )
            ]
        )
    module, _, attribute = name.rpartition(".")
    with importing(composed, path):
        return getattr(importlib.import_module(module), attribute)


def find_trusted(composed: Any, path: Path, name: str) -> Any:
    """What the command line trusts: importing it runs its code, which is what trust means."""
    module, _, attribute = name.rpartition(".")
    try:
        with here():
            return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # any fault of the user's file is told with its name
        text, got = f"{name} cannot be imported", f"{type(error).__name__}: {error}"
        fits = "package.module.Class, installed or below the folder where the program starts"
        raise ConfigError(
            [problem(composed, (*path, "_target_"), text, got=got, fits=fits)]
        ) from error


class importing:  # noqa: N801 - reads as a sentence: with importing(...)
    """Turns a missing optional package into a ConfigError that says what to install."""

    def __init__(self, composed: Any, path: Path):
        self.composed, self.path = composed, path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, ModuleNotFoundError):
            return
        missing = next((name for name in EXTRAS if name.lower() in str(error).lower()), None)
        if missing is None:
            return
        fix = f"pip install -c constraints.txt -e '.[{EXTRAS[missing]}]'"
        text = (
            f"{section(self.composed, self.path)['_target_']} needs the package {missing}, "
            "which is not installed"
        )
        raise ConfigError([problem(self.composed, self.path, text, fix=fix)]) from error


# What a class takes beside its own arguments, to hand it on; those that are not here take anything.
HANDED_ON = {  # to torch's SummaryWriter
    "TensorBoardLogger": ("comment", "purge_step", "max_queue", "flush_secs", "filename_suffix")
}


def check(
    composed: Any, path: Path, target: Any, arguments: dict, given: set[str]
) -> Iterator[Problem]:
    """Problems with the names and the values of `arguments`."""
    known, open_ended = hints.parameters(target)
    others = HANDED_ON.get(target.__name__, ())
    for key, value in arguments.items():
        strange = key not in known and key not in others
        if key in given or (strange and (others or not open_ended)):
            usable = [name for name in (*known, *others) if name not in given]
            fix = guess(key, usable)
            text = f"{target.__name__} has no argument {key}"
            yield problem(composed, (*path, key), text, fits=", ".join(usable), fix=fix)
        elif key not in known:
            yield from write_policy.unchecked(composed, path, key)
        else:
            yield from unfit(composed, (*path, key), value, known[key][0] if key in known else Any)
    for name, (_, required) in known.items():
        if required and name not in arguments and name not in given:
            here = ".".join((*path, name))
            yield problem(composed, path, f"{here} is missing", fix=f"{here}=...")


def unfit(composed: Any, path: Path, value: Any, hint: Any) -> Iterator[Problem]:
    """What is wrong with one value."""
    key, here = path[-1], ".".join(path)
    if value == "???":
        yield problem(composed, path, f"{here} is missing", fix=f"{here}=...")
    elif not hints.fits(value, hint):
        text, fix = f"{key} must be {hints.words(hint)}", guess(value, hints.choices(hint))
        yield problem(composed, path, text, got=f"{key}={value!r}", fix=fix)
    elif bound := ranges.outside(path[0], key, value):
        yield problem(composed, path, f"{key} {bound.must}", got=f"{key}={value}", fits=bound.fits)
    else:
        yield from excess(composed, path, value)


def excess(composed: Any, path: Path, value: Any) -> Iterator[Problem]:
    """A problem where a value asks for more processes, threads or machines than there are."""
    if asked := runtime.find_excess(path, value, typed=write_policy.is_typed(composed, path)):
        text, fits = asked
        yield problem(composed, path, text, got=f"{path[-1]}={value}", fits=fits)
